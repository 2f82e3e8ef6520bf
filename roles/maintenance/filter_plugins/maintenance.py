"""What the maintenance role computes on the controller: when a window ends, and what a watch came to."""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

from ansible.errors import AnsibleFilterError

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_UNTIL = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?Z")


def ends(until: str, minutes: str, now: float, most_minutes: int) -> int:
    """When a window ends, as Unix time in seconds, from what the operator gave: one of `until` and `minutes`.

    `now`: Unix time in seconds.
    """
    if bool(until) == bool(minutes):
        raise AnsibleFilterError("Give the window's end as one of -e minutes=60 and -e until=2026-01-31T22:00Z (UTC).")
    if minutes:
        if not re.fullmatch(r"[1-9]\d{0,5}", minutes):
            raise AnsibleFilterError(f"minutes is {minutes}; it is a whole number, 1 or more.")
        end = int(now) + 60 * int(minutes)
    else:
        end = seconds(until)
    if not now < end <= now + 60 * most_minutes:
        said = time.strftime(TIME_FORMAT, time.gmtime(end))
        raise AnsibleFilterError(
            f"The window would end at {said}, not later than now and within {most_minutes} minutes."
        )
    return end


def seconds(until: str) -> int:
    """Unix time of a moment in UTC."""
    parts = _UNTIL.fullmatch(until)
    try:
        return calendar.timegm(time.strptime(parts[1] + (parts[2] or ":00") + "Z", TIME_FORMAT)) if parts else 1 // 0
    except (ValueError, ZeroDivisionError):
        raise AnsibleFilterError(f"until is {until}; it is a moment in UTC, as 2026-01-31T22:00Z.") from None


def window_as_text(window: dict[str, Any], now: float) -> str:
    """Who opened the window, until when, and what for."""
    if not window:
        return "No maintenance window is open."
    text = f"{window['owner']} opened a maintenance window at {window['since']}, until {window['until']}:"
    text += f" {window['message']}."
    if seconds(window["until"]) <= now:
        return f"{text} It has expired and counts no more; state=close still puts the machines back, and watches."
    return text


def watch_as_text(watch: dict[str, Any]) -> list[str]:
    """What was seen during a watch, a line a node."""
    lines = [f"watched for {watch['seconds']} s, {watch['samples']} samples"]
    for name, seen in sorted(watch["nodes"].items()):
        lines.append(
            f"{name}: not ready in {seen['not_ready']} of {watch['samples']} samples, {seen['errors']} errors, "
            f"{seen['restarts']} restarts"
        )
    return lines


def ready_as_text(item: dict[str, Any]) -> str:
    """One line on a chat node; `item` is its name and whether it is ready."""
    return f"chat node {item['key']} {'serves' if item['value'] else 'DOES NOT SERVE'}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "maintenance_ends": ends,
            "maintenance_window_as_text": window_as_text,
            "maintenance_ready_as_text": ready_as_text,
            "maintenance_watch_as_text": watch_as_text,
        }
