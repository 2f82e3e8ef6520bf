"""Which cell keeps a partition, what moves when a cell comes or goes, and how long clients take to come back. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.crowd import split

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def mixed(value: int) -> int:
    """64 bits in which every bit of the value has a part: the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)


def owners(partitions: int, cells: Sequence[int]) -> list[int]:
    """The cell of each partition by rendezvous (Thaler, Ravishankar 1998): the one with the highest hash of both.

    So each cell has about the same number, and when one comes or goes only its own partitions move.
    """
    marks = [mixed(_STEP * (cell + 1) & _WORD) for cell in cells]
    found = []
    for partition in range(1, partitions + 1):
        key = mixed(partition)
        scores = [mixed(mark ^ key) for mark in marks]
        found.append(cells[scores.index(max(scores))])
    return found


def moved(before: Sequence[int], after: Sequence[int]) -> float:
    """The share of the partitions that have another cell."""
    return sum(old != new for old, new in zip(before, after, strict=True)) / len(before)


def storm(chance: random.Random, clients: int, survivors: int, opened_s: float, spread_s: float) -> float:
    """Seconds until the last of so many clients is taken by the survivor that most of them choose.

    Args:
        chance: decides who goes where, and when.
        clients: that lost their node at the same moment.
        survivors: each client chooses one of them.
        opened_s: connections a second that a survivor takes.
        spread_s: the first try is at a random moment up to here.
    """
    chosen = max(split(chance, clients, survivors))
    arrivals = sorted(chance.uniform(0, spread_s) for _ in range(chosen))
    done_s = 0.0
    for arrival_s in arrivals:
        done_s = max(done_s, arrival_s) + 1 / opened_s
    return done_s
