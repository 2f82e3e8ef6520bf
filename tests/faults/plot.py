"""A history as a picture: what was acknowledged over time, how many nodes were ready, and when which fault was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import Patch

from tests.faults.history import Sample
from tests.faults.index import Index

_BINS = 400
_LEAST_BIN_S = 1.0
_HATCHES = ("", "//", "..", "xx", "--")
"""Kinds of faults beyond the colours there are get the same colours again, with another hatch."""


def draw(index: Index, file: Path) -> None:
    """Draw a history into a PNG file. Time runs from the first send, in seconds."""
    begin = min((send.begin for send in index.sends), default=0.0)
    lasted_s = max((send.end for send in index.sends), default=0.0) - begin
    bin_s = max(_LEAST_BIN_S, lasted_s / _BINS)
    acks = [send.end - begin for send in index.sends if send.outcome == "ok"]
    names = sorted({fault.name for fault in index.faults})
    looks = marks(names)

    figure, (rate, ready) = plt.subplots(2, sharex=True, figsize=(14, 6), height_ratios=[3, 1], layout="constrained")
    counts = Counter(int(at / bin_s) for at in acks)
    bins = range(int(lasted_s / bin_s))
    rate.step([at * bin_s for at in bins], [counts[at] / bin_s for at in bins], where="post", color="black", lw=0.9)
    rate.set_ylabel("acknowledged messages/s")
    rate.set_ylim(bottom=0)
    for axis in (rate, ready):
        for fault in index.faults:
            axis.axvspan(fault.begin - begin, fault.end - begin, **looks[fault.name])
    ready.step(*_ready_over_time(index, begin), where="post", color="black", lw=0.9)
    ready.set_ylabel("nodes ready")
    ready.set_yticks(range(len(index.plan.nodes) + 1))
    ready.set_xlabel("seconds")
    handles = [Patch(**looks[name]) for name in names]
    if names:
        figure.legend(handles, names, loc="outside right upper", fontsize=8)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def marks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each kind of fault is marked: by its colour, and by its hatch."""
    colours = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    found = {}
    for at, name in enumerate(names):
        hatch = _HATCHES[at // len(colours) % len(_HATCHES)]
        found[name] = {"facecolor": colours[at % len(colours)], "hatch": hatch, "alpha": 0.45, "lw": 0}
    return found


def _ready_over_time(index: Index, begin: float) -> tuple[list[float], list[int]]:
    """Times, and how many nodes were ready from each on."""
    samples: list[Sample] = sorted((s for each in index.samples.values() for s in each), key=lambda s: s.at)
    ready: dict[str, bool] = {}
    times, counts = [], []
    for sample in samples:
        ready[sample.node] = sample.ready
        times.append(sample.at - begin)
        counts.append(sum(ready.values()))
    return times, counts
