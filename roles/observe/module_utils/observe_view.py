"""What is known of a cluster when it is judged, and what a finding is."""

from __future__ import annotations

import base64
import calendar
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

DEGRADED, NOTE = "degraded", "note"
LIMITS = {"disk_percent": 85, "memory_percent": 95, "expiry_days": 14, "restarts": 3, "lag_entries": 1000}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; a note is no fault. `next_step` is a command, or what to do by hand."""

    cause: str
    level: str
    text: str
    next_step: str = ""


@dataclass
class View:
    """All that is known.

    Args:
        hosts: inventory name -> facts, {} where it did not answer.
        silent: inventory name -> why it did not answer.
        expected: inventory name -> {"node": "node1", "nats": "nats1"}, or {} for a machine without services.
        probes: inventory name -> {"ok", "ms", "reason"} of a message sent through its node from outside.
        tokens: name -> token whose expiry is watched.
        now: Unix time in seconds.
    """

    hosts: dict[str, Json]
    expected: dict[str, dict[str, str]]
    now: float
    silent: dict[str, str] = field(default_factory=dict)
    probes: dict[str, Json] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=lambda: dict(LIMITS))

    @property
    def answered(self) -> dict[str, Json]:
        return {name: facts for name, facts in self.hosts.items() if facts}

    @property
    def managing(self) -> Json:
        """The cluster as a manager knows it that has a quorum; {} if there is none."""
        known = [facts["swarm"] for facts in self.answered.values() if "machines" in facts.get("swarm", {})]
        return next((swarm for swarm in known if swarm["leads"]), known[0] if known else {})

    @property
    def services(self) -> dict[str, Json]:
        found: dict[str, Json] = self.managing.get("services", {})
        return found

    @property
    def nodes(self) -> dict[str, Json]:
        return {name: node for facts in self.answered.values() for name, node in facts.get("nodes", {}).items()}

    @property
    def log_servers(self) -> dict[str, Json]:
        return {name: server for facts in self.answered.values() for name, server in facts.get("nats", {}).items()}

    @property
    def containers(self) -> Iterator[tuple[str, Json]]:
        for host, facts in self.answered.items():
            for row in facts.get("containers", []):
                yield host, row


def short(text: Any) -> str:
    """The first 200 characters of the first line of something said."""
    lines = str(text).strip().splitlines()
    return lines[0][:200] if lines else ""


def moment(text: str) -> float:
    """Unix time of a moment in UTC, whatever the number of digits of its seconds."""
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def when(unix_s: float) -> str:
    return time.strftime("on %Y-%m-%d", time.gmtime(unix_s))


def fill_percent(disk: Json) -> float:
    return float(max(disk["used_percent"], disk["inodes_percent"]))


def log_leader(server: Json) -> str:
    """The leader of the servers' own group, as one of them knows it."""
    return str(server["jsz"].get("meta_cluster", {}).get("leader", ""))


def streams(server: Json) -> list[Json]:
    return [s for account in server["jsz"].get("account_details", []) for s in account.get("stream_detail", [])]


def lag(answer: Json) -> int:
    return max(int(answer.get("head") or 0) - int(answer.get("applied") or 0), 0)


def token_expiry(token: str) -> float | None:
    """When a JSON Web Token expires, Unix time; None if it never does or is none. RFC 7519, 4.1.4."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def any_ready(view: View) -> bool:
    return any(node["ready"].get("ready") for node in view.nodes.values())


def probe(result: Json) -> Json:
    """What `chat-node probe` said, out of the result of its command."""
    try:
        said: Json = json.loads(result.get("stdout", ""))
    except ValueError:
        return {"ok": False, "reason": short(result.get("stderr") or result.get("msg") or "it said nothing")}
    return said
