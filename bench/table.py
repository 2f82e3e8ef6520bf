"""From measured figures to a table: medians, ratios, and whether a goal was reached. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Rounds = Sequence[Mapping[str, float]]
Results = Mapping[str, Mapping[str, Rounds]]
"""Row -> server -> what each round measured."""

BUSY = 0.9
"""A load that has used so much of its core may itself have been the limit."""


@dataclass(frozen=True)
class Goal:
    """A bound for the node's figure: a factor of a peer's in the same run, or a figure by itself.

    Attributes:
        of: the peer; empty for a figure by itself.
        least, beyond: what is asked, and what would be excellent.
        plus: added to the peer's figure.
    """

    of: str
    least: float
    beyond: float
    plus: float = 0.0


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        key: its name among what the load measures.
        scale: what a measured value is divided by, to be in ``unit``.
        less: less is better.
        server: whose figure is held against the goals.
    """

    key: str
    title: str
    unit: str
    goals: tuple[Goal, ...] = ()
    scale: float = 1.0
    less: bool = False
    server: str = field(default="chat")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, named; nothing of nothing."""
    if not values:
        return {}
    return {f"{name}_p50_s": percentile(values, 0.5), f"{name}_p99_s": percentile(values, 0.99)}


def median_of(rounds: Rounds, figure: Figure) -> float | None:
    """The middle round's figure in its unit; None if it was not measured."""
    values = [found[figure.key] for found in rounds if figure.key in found]
    return statistics.median(values) / figure.scale if values else None


def verdict(figure: Figure, goal: Goal, medians: Mapping[str, float]) -> str:
    """How the node stands to a goal, in words."""
    ours = medians.get(figure.server)
    against = medians.get(goal.of) if goal.of else 1.0
    if ours is None or not against:
        return ""
    if goal.plus:
        reached = [ours <= against * factor + goal.plus for factor in (goal.least, goal.beyond)]
        told = f"{goal.of} + {number(ours - against)} {figure.unit}"
    else:
        ratio = ours / against
        reached = [ratio <= factor if figure.less else ratio >= factor for factor in (goal.least, goal.beyond)]
        told = f"{number(ratio)} x {goal.of}" if goal.of else f"{number(ours)} {figure.unit}"
    further = reached[1] and goal.beyond != goal.least
    word = "beyond" if further else "reached" if reached[0] else "**not reached**"
    return f"{told}: {word}"


def asked(figure: Figure, goal: Goal) -> str:
    """A goal in words."""
    bounds = number(goal.least) if goal.least == goal.beyond else f"{number(goal.least)} ({number(goal.beyond)})"
    if goal.plus:
        return f"{goal.of} + {number(goal.plus)} {figure.unit}"
    relation = "at most" if figure.less else "at least"
    return f"{relation} {bounds} x {goal.of}" if goal.of else f"{relation} {bounds} {figure.unit}"


def number(value: float) -> str:
    """Three digits that mean something, thousands apart."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, digits):,.{max(0, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def markdown(figures: Mapping[str, Sequence[Figure]], results: Results, servers: Sequence[str]) -> str:
    """The table of what was measured: a line for each figure, a column for each server."""
    lines = [
        "| work | " + " | ".join(servers) + " | asked (beyond) | the node |",
        "| --- |" + " ---: |" * len(servers) + " --- | --- |",
    ]
    for row, measured in results.items():
        for figure in figures[row]:
            medians = {
                name: value for name in servers if (value := median_of(measured.get(name, ()), figure)) is not None
            }
            cells = [_cell(medians.get(name), measured.get(name, ())) for name in servers]
            goals = "; ".join(asked(figure, goal) for goal in figure.goals)
            verdicts = "; ".join(filter(None, (verdict(figure, goal, medians) for goal in figure.goals)))
            lines.append(f"| {figure.title} ({figure.unit}) | " + " | ".join([*cells, goals, verdicts]) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, rounds: Rounds) -> str:
    """A figure; with a star where the load was the limit."""
    if value is None:
        return ""
    busy = statistics.median([found.get("load_cpu", 0.0) for found in rounds]) >= BUSY
    return number(value) + (" *" if busy else "")
