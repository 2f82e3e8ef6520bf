"""How the node's cost grows with what it has to do: a picture with a panel for each kind of more."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from bench.directory import DOCS, scratch
from bench.history import write_log
from bench.measure import Measure, Measured, Spec, load, measure_load
from bench.servers import CHAT, chat_node
from bench.table import number

_COLUMNS = 2


@dataclass(frozen=True)
class Series:
    """One kind of more.

    Attributes:
        what: there is more of.
        title, unit: of what it costs.
        key: its name among what is measured.
        scale: what a measured value is divided by, to be in ``unit``.
        points: how much there is -> what is done then; the first is a quick run.
    """

    what: str
    title: str
    unit: str
    key: str
    scale: float
    points: Mapping[int, Spec]
    measure: Measure = field(default=measure_load)


def _talk(rooms: int, members: int, **more: object) -> Spec:
    return {"work": "talk", "rooms": rooms, "members": members, "senders": 2, "window": 8, "seconds": 2.0, **more}


def measure_after(kind: str, directory: Path, spec: Spec) -> Measured:
    """A node that has a past, alone or at work, started once before: to build its store takes memory of its own."""
    write_log(directory / "node" / "data", spec.get("messages", 0), spec.get("rooms_before", 0))
    with chat_node(directory) as before:
        assert before.node is not None
        before.node.stop()
    with chat_node(directory) as server:
        return load(server, {"work": "memory", **spec})


SERIES: Mapping[str, Series] = {
    "members": Series(
        "members of a room",
        "CPU of a message",
        "µs",
        "message_s",
        1e-6,
        {members: _talk(1, members) for members in (2, 10, 100, 1000, 4000, 10_000)},
    ),
    "rooms": Series(
        "rooms",
        "CPU of a message",
        "µs",
        "message_s",
        1e-6,
        {rooms: _talk(10, 10, rooms_before=rooms) for rooms in (10, 100, 1000, 10_000, 100_000)},
        measure_after,
    ),
    "connections": Series(
        "connections",
        "memory",
        "MB",
        "memory",
        1e6,
        {connections: {"work": "idle", "connections": connections} for connections in (10, 100, 1000, 4000, 14_000)},
    ),
    "history": Series(
        "messages in the log",
        "memory",
        "MB",
        "memory",
        1e6,
        {messages: {"messages": messages} for messages in (1000, 10_000, 100_000, 1_000_000, 10_000_000)},
        measure_after,
    ),
}


def measure(names: Sequence[str], *, quick: bool) -> dict[str, dict[int, float]]:
    """Series -> how much -> its cost in the series' unit. What cannot be done has no cost."""
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for name in names:
        series = SERIES[name]
        for much, spec in list(series.points.items())[: 1 if quick else None]:
            try:
                with scratch() as directory:
                    measured = series.measure(CHAT, directory, spec | ({"seconds": 0.3} if quick else {}))
            except (OSError, RuntimeError) as error:
                print(f"{much:,} {series.what}: FAILED: {error}", flush=True)
                continue
            cost = found[name][much] = measured[series.key] / series.scale
            print(f"{much:,} {series.what}: {series.title} {number(cost)} {series.unit}", flush=True)
    return found


def keep(found: Mapping[str, Mapping[int, float]], file: Path) -> dict[str, dict[int, float]]:
    """Write what was found into a file, beside the series that were measured before. Returns all of them."""
    before = json.loads(file.read_text()) if file.exists() else {}
    known = {name: {int(much): cost for much, cost in costs.items()} for name, costs in before.items()} | dict(found)
    kept = {name: dict(known[name]) for name in SERIES if name in known}
    file.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def draw(found: Mapping[str, Mapping[int, float]], directory: Path) -> None:
    """Write ``growth.png``."""
    mpl.use("Agg")
    lines = -(-len(found) // _COLUMNS)
    picture = Picture(figsize=(4.6 * _COLUMNS, 2.8 * lines), layout="constrained")
    axes = picture.subplots(lines, _COLUMNS, squeeze=False).flat
    for panel, (name, costs) in zip(axes, found.items(), strict=False):
        _curve(panel, SERIES[name], costs)
    picture.savefig(directory / "growth.png", dpi=90)


def _curve(panel: Axes, series: Series, costs: Mapping[int, float]) -> None:
    panel.plot(list(costs), list(costs.values()), marker="o", color="#1f6f8b")
    panel.set_xscale("log")
    panel.set_ylim(0, 1.1 * max(costs.values(), default=1.0))
    panel.set_xlabel(series.what, fontsize=8)
    panel.set_title(f"{series.title} ({series.unit})", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Measure all series, and draw them."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--only", default="", help=f"series, by space: {' '.join(SERIES)}")
    parser.add_argument("--quick", action="store_true", help="one point of each, and nothing is kept")
    arguments = parser.parse_args()
    names = arguments.only.split() or list(SERIES)
    if unknown := [name for name in names if name not in SERIES]:
        parser.error(f"no such series: {', '.join(unknown)}; there are: {' '.join(SERIES)}")
    found = measure(names, quick=arguments.quick)
    if not arguments.quick:
        DOCS.mkdir(parents=True, exist_ok=True)
        draw(keep(found, DOCS / "growth.json"), DOCS)
    if not all(len(found[name]) == (1 if arguments.quick else len(SERIES[name].points)) for name in names):
        sys.exit("Some work was not done: see FAILED above.")


if __name__ == "__main__":
    main()
