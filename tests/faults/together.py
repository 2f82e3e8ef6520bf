"""The reports of several runs as one table, for docs/faults.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.faults.report import Kind, Report, kinds, seconds

_HEAD = """\
| fault | times | longest time without any successful send | a send succeeds again, from the fault's begin | \
all nodes ready, from its end |
| --- | ---: | ---: | ---: | ---: |"""


class ReportError(Exception):
    """A report cannot be used."""


def together(directories: Sequence[Path]) -> str:
    """Markdown from the ``report.json`` of each directory: what all came to, and the worst of each kind of fault.

    Raises:
        ReportError: there is none, or one of another time.
    """
    reports = [_read(directory / "report.json") for directory in directories]
    worst = kinds([fault for made in reports for fault in made.faults])
    ordered = sorted(worst.items(), key=lambda item: (-item[1].silence_s, item[0]))
    return "\n".join([_HEAD, *(_row(name, kind) for name, kind in ordered), "", _totals(reports)])


def _read(file: Path) -> Report:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise ReportError(f"{file}: {error}; `judge` makes a report of a history") from None


def _row(name: str, kind: Kind) -> str:
    times = (kind.silence_s, kind.recovered_s, kind.whole_s)
    return f"| {name} | {kind.count} | {' | '.join(seconds(time) for time in times)} |"


def _totals(reports: Sequence[Report]) -> str:
    def total(name: str) -> str:
        return f"{sum(getattr(made, name) for made in reports):,}"

    seeds = ", ".join(str(made.seed) for made in reports)
    lasted_s = sum(made.lasted_s for made in reports)
    fates = ", ".join(f"{total(name)} {name}" for name in ("acknowledged", "refused", "unknown"))
    harms = ", ".join(f"{sum(made.found.get(harm, 0) for made in reports):,} {harm}" for harm in reports[0].found)
    lines = [
        f"Seeds {seeds}; {lasted_s:,.0f} s in all; {total('operations')} operations.",
        f"Messages: {total('messages')} sent, {fates}.",
        f"Found: {harms}.",
    ]
    stops = [f"Seed {made.seed} could not go on: {reason}" for made in reports for reason in made.stopped]
    return "\n".join([*lines, *stops])
