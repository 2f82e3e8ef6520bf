"""The copy of an inventory that goes into a backup, and the listing of backups."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

VAULT = "$ANSIBLE_VAULT;"
LEFT_OUT = "LEFT-OUT-OF-THE-BACKUP"
SECRET_LENGTH_MIN = 8
FILE_BYTES_MAX = 1 << 20
NAMES = r"[\w.-]*(?:password|passwd|secret|token|jwt_key|api_key|access_key)"
SECRET_LINE = re.compile(
    rf"""^(?P<name>[\s-]*['"]?{NAMES}['"]?:[ \t]+)(?P<value>\S.*)$""",
    re.IGNORECASE | re.MULTILINE,
)
"""A variable by whose name its value is a secret, in YAML."""
SECRET_WORD = re.compile(rf"""(?P<name>\b{NAMES}=)(?P<value>"[^"\n]*"|'[^'\n]*'|\S+)""", re.IGNORECASE)
"""The same in an inventory of the INI kind."""


def without_secrets(text: str, secrets: list[str]) -> str | None:
    """A file of the inventory, without what nobody may read there; None if it is better left out as a whole.

    What is encrypted with Ansible's vault stays as it is.

    Args:
        text: the file's content.
        secrets: values that are known to be secret.
    """
    if text.startswith(VAULT):
        return text
    if "PRIVATE KEY-----" in text:
        return None
    for secret in secrets:
        if len(secret) >= SECRET_LENGTH_MIN:
            text = text.replace(secret, LEFT_OUT)
    if any(match["value"][0] in "|>" for match in SECRET_LINE.finditer(text)):
        return None
    return SECRET_WORD.sub(_cut, SECRET_LINE.sub(_cut, text))


def _cut(match: re.Match[str]) -> str:
    value = match["value"]
    harmless = value.startswith(("!vault", "#")) or "{{" in value or value.strip("'\"") == ""
    return match[0] if harmless else match["name"] + LEFT_OUT


def inventory_copy(directory: str, secrets: list[Any]) -> dict[str, Any]:
    """``files``: path in the inventory -> text; ``left_out``: the paths that are not among them."""
    root, files, left_out = Path(directory), {}, []
    known = [str(secret) for secret in secrets]
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        text = _read(path)
        kept = None if text is None or _is_for_secrets(name, text) else without_secrets(text, known)
        if kept is None:
            left_out.append(name)
        else:
            files[name] = kept
    return {"files": files, "left_out": left_out}


def _is_for_secrets(name: str, text: str) -> bool:
    return name.startswith("secrets/") and not text.startswith(VAULT)


def _read(path: Path) -> str | None:
    if path.stat().st_size > FILE_BYTES_MAX:
        return None
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def as_text(item: dict[str, Any]) -> str:
    """One line on a backup."""
    parts = [item["snapshot"], item["what"], item["created_at"], f"{age(item['age_s'])} ago"]
    if item["what"] == "data":
        parts += [f"{item['count']} entries", f"{item['messages']} messages", f"{item['rooms']} rooms"]
        parts += [f"{item['accounts']} accounts", f"epoch {item['epoch']}", f"digest {item['digest'][:12]}"]
        parts += [f"node {item['node_version']}, format {item['format']}, records {item['records']}"]
    else:
        parts += [f"{item['files']} files", f"cluster {item['cluster']}"]
    return " | ".join([*parts, f"sha256 {item['sha256'][:12]}"])


def made_as_text(made: dict[str, Any]) -> str:
    """One line on a backup that was just made, from a pair of its kind and what is known of it."""
    text = as_text({"what": made["key"], "age_s": 0, **made["value"]})
    return text if made["value"]["changed"] else f"unchanged since: {text}"


def age(seconds: int) -> str:
    """An age as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "backup_inventory_copy": inventory_copy,
            "backup_as_text": as_text,
            "backup_made_as_text": made_as_text,
            "backup_age": age,
        }
