"""What the guard says about a lock and about past runs."""

from __future__ import annotations

import calendar
import time
from typing import Any

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def lock_as_text(lock: dict[str, Any], now: float) -> str:
    """Who holds the lock, since when, why, and what to do about it. `now`: Unix time in seconds."""
    if not lock:
        return "Nobody holds the lock."
    why = f", because: {lock['reason']}" if lock["reason"] else ""
    text = f"{lock['owner']} holds the lock since {lock['since']} for {lock['verb']}{why}."
    if seconds(lock["expires"]) < now:
        text += f" It should have been over by {lock['expires']}, so that run has most likely died."
    return (
        f"{text} Wait for its end; if that run is dead for sure: "
        "`ansible-playbook playbooks/lock.yml -e state=release -e reason=...`."
    )


def record_as_text(record: dict[str, Any]) -> str:
    """One line on a past run."""
    cause = record["cause"].splitlines()[0] if record["cause"] else ""
    took_s = seconds(record["ended"]) - seconds(record["began"])
    parts = [
        record["began"],
        record["outcome"],
        record["verb"],
        f"{took_s} s",
        record["owner"],
        record["reason"],
        cause,
    ]
    return " | ".join(str(part) for part in parts if part != "")


def seconds(text: str) -> int:
    """Unix time of a moment in UTC."""
    return calendar.timegm(time.strptime(text, TIME_FORMAT))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"guard_lock_as_text": lock_as_text, "guard_record_as_text": record_as_text}
