"""Reports as people read them: tables, findings, sizes and times in units of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Column = tuple[str, Callable[[Json], Any]]


def table(rows: list[Json], columns: list[Column]) -> str:
    """Rows under headings, as wide as what is in them; None is shown as a dash."""
    cells = [[heading for heading, _ in columns]]
    cells += [["-" if (value := show(row)) is None else str(value) for _, show in columns] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def span(seconds: float | None) -> str | None:
    """A length of time with its two largest units."""
    if seconds is None:
        return None
    left, parts = int(max(seconds, 0)), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= length or (unit == "s" and not parts):
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:2])


def size(count: float | None) -> str | None:
    """Bytes in a unit that leaves at most four digits."""
    if count is None:
        return None
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def rate(values: Json, name: str) -> str | None:
    """Bytes a second."""
    return f"{size(values[name])}/s" if name in values else None


def findings(report: Json) -> str:
    """What was found, numbered, the likeliest cause first, each with what to do next."""
    lines = []
    for number, finding in enumerate(report["findings"], 1):
        mark = "note" if finding["level"] == "note" else finding["cause"]
        lines.append(f"{number}. [{mark}] {finding['text']}")
        if finding["next_step"] and finding["level"] != "note":
            lines.append(f"   next: {finding['next_step']}")
    return "\n".join(lines) or "Nothing was found to be wrong."


SERVICES: list[Column] = [
    ("service", lambda r: r["service"]),
    ("host", lambda r: r["host"]),
    ("replicas", lambda r: r["replicas"]),
    ("health", lambda r: r["health"]),
    ("ready", lambda r: {True: "yes", False: "no", None: None}[r["ready"]]),
    ("up for", lambda r: span(r["uptime_s"])),
    ("restarts", lambda r: r["restarts"]),
    ("lag", lambda r: r["lag"]),
]
VERSIONS: list[Column] = [
    ("version", lambda r: r["version"]),
    ("release", lambda r: r["release"]),
    ("image", lambda r: r["image"]),
]
HOSTS: list[Column] = [
    ("host", lambda r: r["host"]),
    ("answers", lambda r: "yes" if r["answers"] else "NO"),
    ("probe", lambda r: r["probe"] if r["probe_ms"] is None else f"{r['probe_ms']:.0f} ms"),
    ("swarm", lambda r: r.get("swarm")),
    ("state", lambda r: r.get("state")),
    ("engine", lambda r: r.get("engine")),
    ("disk", lambda r: percent(r.get("disk_percent"))),
    ("memory", lambda r: percent(r.get("memory_percent"))),
    ("certificate", lambda r: days(r.get("certificate_days"))),
]


def percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} %"


def days(value: int | None) -> str | None:
    return None if value is None else f"{value} days"


def health(report: Json) -> str:
    """The report of `health.yml`."""
    return "\n\n".join(
        [table(report["services"], SERVICES), table(report["hosts"], HOSTS), log(report), findings(report)]
    )


def log(report: Json) -> str:
    """One line on the log."""
    found = report["log"]
    if not found["servers_leader"]:
        return f"log: no leader, {found['servers']} servers answer"
    behind = "" if not found["replica_lag"] else f", the slowest replica {found['replica_lag']} behind"
    return (
        f"log: {found['servers']} servers, led by {found['servers_leader']}, the messages by {found['stream_leader']}; "
        f"{found['entries']} entries, {size(found['bytes'])}{behind}"
    )


def status(report: Json) -> str:
    """The report of `status.yml`: one screen."""
    traffic: list[Column] = [
        ("node", lambda r: r["service"]),
        ("clients", lambda r: r["connections"]),
        ("messages in/s", lambda r: r["rates"].get("chat_messages_in_total")),
        ("events/s", lambda r: r["rates"].get("chat_events_applied_total")),
        ("out", lambda r: rate(r["rates"], "chat_sent_bytes_total")),
        ("lag", lambda r: r["lag"]),
    ]
    tasks: list[Column] = [
        ("task of", lambda r: r["service"]),
        ("host", lambda r: r["host"]),
        ("state", lambda r: r["state"]),
        ("since", lambda r: r["at"][:19]),
        ("error", lambda r: r["error"] or None),
    ]
    rows = [task | {"service": row["service"]} for row in report["services"] for task in row["tasks"][:2]]
    nodes = [row for row in report["services"] if row["service"].startswith("node")]
    releases = [f"release {r['release']} of {r.get('at', '?')} by {r.get('by', '?')}" for r in report["releases"][-1:]]
    return "\n\n".join(
        [
            table(report["services"], SERVICES[:6] + VERSIONS),
            table(rows, tasks),
            table(report["hosts"], HOSTS[:6]),
            table(nodes, traffic),
            "\n".join([log(report), *releases]),
        ]
    )


def resources(report: Json) -> str:
    """The report of `resources.yml`."""
    container: list[Column] = [
        ("service", lambda r: r["service"]),
        ("host", lambda r: r["host"]),
        ("CPU", lambda r: percent(r["container_rates"].get("cpu_percent"))),
        ("memory", lambda r: size(r["usage"].get("memory_bytes"))),
        ("limit", lambda r: size(r["usage"].get("limit_bytes") or None)),
        ("processes", lambda r: r["usage"].get("processes")),
        ("disk", lambda r: rate(r["container_rates"], "disk_bytes_s")),
        ("in", lambda r: rate(r["container_rates"], "in_bytes_s")),
        ("out", lambda r: rate(r["container_rates"], "out_bytes_s")),
    ]
    host: list[Column] = [
        ("host", lambda r: r["host"]),
        ("CPU", lambda r: percent(r.get("rates", {}).get("cpu_percent"))),
        ("of", lambda r: None if "cpus" not in r else f"{100 * r['cpus']} %"),
        ("load", lambda r: r.get("load")),
        ("memory", lambda r: percent(r.get("memory_percent"))),
        ("disk used", lambda r: percent(r.get("disk_percent"))),
        ("disk", lambda r: rate(r.get("rates", {}), "disk_bytes_s")),
        ("in", lambda r: rate(r.get("rates", {}), "in_bytes_s")),
        ("out", lambda r: rate(r.get("rates", {}), "out_bytes_s")),
        ("up for", lambda r: span(r.get("uptime_s"))),
    ]
    return table(report["services"], container) + "\n\n" + table(report["hosts"], host)


def diagnosis(report: Json) -> str:
    """What `diagnose.yml` says before it names the bundle: the likeliest cause, then all else."""
    faults = [finding for finding in report["findings"] if finding["level"] != "note"]
    if not faults:
        return f"The cluster is {report['level']}. Nothing was found to be wrong."
    first = faults[0]
    return f"Likeliest cause: {first['text']}.\nNext: {first['next_step']}\n\nAll findings:\n{findings(report)}"


def network(report: Json) -> str:
    """The report of `network.yml`."""
    rows = [{"host": host} | found for host, found in sorted(report["hosts"].items()) if not found["error"]]
    reach: list[Column] = [
        ("from", lambda r: r["host"]),
        ("overlay MTU", lambda r: r["mtu"]["overlay"]),
        ("link MTU", lambda r: r["mtu"]["host"]),
        ("packets", lambda r: "all arrive" if not r["lost"] else f"{len(r['lost'])} lost"),
        ("names", lambda r: f"{sum(map(bool, r['names'].values()))} of {len(r['names'])}"),
        ("connections", lambda r: f"{sum('ms' in c for c in r['connects'].values())} of {len(r['connects'])}"),
        ("way out", lambda r: "; ".join(f"{place}: {said}" for place, said in r["way_out"].items()) or None),
    ]
    overlay: list[Column] = [
        ("overlay on", lambda r: r["host"]),
        ("subnet", lambda r: r["overlay"]["subnet"]),
        ("encrypted", lambda r: "yes" if r["overlay"]["encrypted"] else "no"),
        ("peers", lambda r: ", ".join(r["overlay"]["peers"])),
        ("services", lambda r: ", ".join(s for s in r["overlay"]["services"] if not s.startswith("chat-overlay"))),
    ]
    addresses = ", ".join(f"{name} {address}" for name, address in sorted(report["targets"].items()))
    faults = "\n".join(report["faults"]) or "Everyone reaches everyone."
    return "\n\n".join([table(rows, overlay), f"addresses: {addresses}", table(rows, reach), faults])


def service(found: Json) -> str:
    """The report of `inspect.yml`."""
    if found["release"]:
        told = "\n".join(f"  {line}" for line in found["differences"]) or "  none"
        told = f"Differences to release {found['release']}:\n{told}"
    else:
        told = "There is no release yet."
    return "\n\n".join([found["pretty"].strip(), found["tasks"].strip(), told])
