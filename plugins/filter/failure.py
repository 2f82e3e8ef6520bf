"""What a failed task said, for the messages of `rescue`."""

from __future__ import annotations

from typing import Any


def failure_as_text(result: dict[str, Any]) -> str:
    """Of a loop, its first failed item; of a command, what it wrote."""
    items = [item for item in result.get("results", []) if item.get("failed") or item.get("unreachable")]
    failed = items[0] if items else result
    said = [failed.get("msg"), failed.get("stdout"), failed.get("stderr"), failed.get("json")]
    return "\n".join(str(part) for part in said if part)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"failure_as_text": failure_as_text}
