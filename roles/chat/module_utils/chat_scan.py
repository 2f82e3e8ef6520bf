"""What the vulnerability scan decides: what the scanners found, what the allow-list allows today, what remains.

Pure functions over what pip-audit and Trivy print as JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

SEVERITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
UNKNOWN = "UNKNOWN"
COLUMNS = ("id", "package", "version", "fixed", "severity", "verdict")

Json = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a package. ``ids`` are all names it has, the scanner's own first."""

    ids: tuple[str, ...]
    package: str
    version: str
    fixed: str = ""
    severity: str = UNKNOWN


@dataclass(frozen=True)
class Allowed:
    """A vulnerability that the operators live with, through the day it ``expires``."""

    id: str
    reason: str
    expires: date


def packages(sbom: Json, kind: str) -> list[tuple[str, str]]:
    """Name and version of all packages of a kind (the type of their package URL) in a CycloneDX document."""
    components = [c for c in sbom["components"] if c.get("purl", "").startswith(f"pkg:{kind}/")]
    return [(component["name"], component["version"]) for component in components]


def requirements(pinned: list[tuple[str, str]]) -> list[str]:
    """Requirements files that together pin all of these; one alone may name a package only once."""
    files: list[dict[str, str]] = []
    for name, version in pinned:
        file = next((file for file in files if name not in file), None)
        if file is None:
            files.append(file := {})
        file[name] = version
    return ["".join(f"{name}=={version}\n" for name, version in file.items()) for file in files]


def from_pip_audit(output: str) -> tuple[list[Finding], list[str]]:
    """The findings, and the names of the packages that could not be checked. Raises ValueError if this is no answer."""
    dependencies = _parsed(output)["dependencies"]
    found = [
        Finding((vuln["id"], *sorted(vuln["aliases"])), item["name"], item["version"], ", ".join(vuln["fix_versions"]))
        for item in dependencies
        for vuln in item.get("vulns", [])
    ]
    return found, [item["name"] for item in dependencies if "skip_reason" in item]


def from_trivy(output: str) -> list[Finding]:
    """The findings. Raises ValueError if this is no answer of `trivy --format json`."""
    vulnerabilities = [v for result in _parsed(output).get("Results", []) for v in result.get("Vulnerabilities") or []]
    return [
        Finding(
            (v["VulnerabilityID"], *v.get("VendorIDs", [])),
            v["PkgName"],
            v["InstalledVersion"],
            v.get("FixedVersion", ""),
            v.get("Severity", UNKNOWN),
        )
        for v in vulnerabilities
    ]


def _parsed(output: str) -> Json:
    parsed = json.loads(output)
    if not isinstance(parsed, dict):
        raise ValueError("no JSON object")
    return parsed


def merged(findings: list[Finding]) -> list[Finding]:
    """One finding of those that two scanners have under different names."""
    single: list[Finding] = []
    for finding in findings:
        same = next((known for known in single if _is_same(known, finding)), None)
        if same is None:
            single.append(finding)
            continue
        severity = finding.severity if same.severity == UNKNOWN else same.severity
        ids = tuple(dict.fromkeys(same.ids + finding.ids))
        single[single.index(same)] = replace(same, ids=ids, severity=severity, fixed=same.fixed or finding.fixed)
    return single


def _is_same(one: Finding, other: Finding) -> bool:
    return (one.package, one.version) == (other.package, other.version) and not set(one.ids).isdisjoint(other.ids)


def read_allowed(entries: list[Json]) -> tuple[list[Allowed], list[str]]:
    """The entries of the allow-list, and what is wrong with those that are refused."""
    allowed, faults = [], []
    for number, entry in enumerate(entries, 1):
        name = str(entry.get("id") or "").strip()
        reason = str(entry.get("reason") or "").strip()
        expires = _as_date(str(entry.get("expires", "")))
        label = f"entry {number} of chat_scan_allowed, {name or 'of nothing'},"
        if not name:
            faults.append(f"{label} has no id")
        if not reason:
            faults.append(f"{label} has no reason")
        if expires is None:
            faults.append(f"{label} expires on {entry.get('expires') or 'no day'}; a day is written 2026-01-31")
        elif name and reason:
            allowed.append(Allowed(name, reason, expires))
    return allowed, faults


def _as_date(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def judge(findings: list[Finding], allowed: list[Allowed], threshold: str, today: date) -> list[Json]:
    """Each finding as a row with the keys of COLUMNS, and `aliases` and `refused`; the refused ones first.

    A finding without a severity counts as one of at least `threshold`.
    """
    rows = [_row(finding, allowed, threshold, today) for finding in findings]
    return sorted(rows, key=lambda row: (not row["refused"], _rank(row["severity"]), row["package"], row["id"]))


def _row(finding: Finding, allowed: list[Allowed], threshold: str, today: date) -> Json:
    entry = next((entry for entry in allowed if entry.id in finding.ids and entry.expires >= today), None)
    late = next((entry for entry in allowed if entry.id in finding.ids and entry.expires < today), None)
    below = finding.severity in SEVERITIES[: SEVERITIES.index(threshold)]
    verdict = "refused"
    if below:
        verdict = f"below {threshold}"
    elif entry:
        verdict = f"allowed until {entry.expires}: {entry.reason}"
    elif late:
        verdict = f"refused: allowed until {late.expires} only"
    return {
        "id": finding.ids[0],
        "aliases": list(finding.ids[1:]),
        "package": finding.package,
        "version": finding.version,
        "fixed": finding.fixed or "-",
        "severity": finding.severity,
        "verdict": verdict,
        "refused": not (below or entry),
    }


def _rank(severity: str) -> int:
    """Grave ones first, and what nobody has rated before all."""
    return -SEVERITIES.index(severity) if severity in SEVERITIES else -len(SEVERITIES)


def remarks(findings: list[Finding], allowed: list[Allowed], today: date) -> list[str]:
    """What the allow-list's owners should know of its entries."""
    met = {name for finding in findings for name in finding.ids}
    late = [f"The allowance of {a.id} ended on {a.expires} ({a.reason})." for a in allowed if a.expires < today]
    idle = [
        f"The allowance of {a.id} matched nothing; it can go."
        for a in allowed
        if a.id not in met and a.expires >= today
    ]
    return late + idle


def table(rows: list[Json]) -> list[str]:
    """The rows as lines of one width a column, without those that are below the threshold; these are counted."""
    told = [row for row in rows if not row["verdict"].startswith("below ")]
    cells = [[column.upper() for column in COLUMNS], *([row[column] for column in COLUMNS] for row in told)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    below = len(rows) - len(told)
    return (lines if told else ["no finding"]) + ([f"and {below} less severe"] if below else [])
