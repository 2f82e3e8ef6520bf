"""Violations of the limits of time and of resources, planted as in :mod:`fault_plants`."""

from __future__ import annotations

from msgspec.structs import replace

from tests.faults.history import Fault, Sample

from .fault_histories import bend, find, without
from .fault_plants import PLANTS, History, plants, sent

__all__ = ["PLANTS"]


@plants(13, "a send took 22.0 s, and 10 s are allowed")
def _too_slow_in_calm(history: History) -> History:
    history = bend(history, sent(history, "bo", "c-2"), end=50)
    return without(history, find(history, Fault))


@plants(13, "a send took 4.5 s, and 1 s are allowed")
def _too_slow_in_a_fault(history: History) -> History:
    return bend(history, find(history, Fault), limit_s=1)


@plants(13, "a send took 75.0 s, and 60 s are allowed")
def _no_recovery(history: History) -> History:
    history = bend(history, find(history, Fault), limit_s=None)
    return bend(history, sent(history, "bo", "c-2"), begin=23, end=100)


@plants(13, "a send took 17.0 s, and 10 s are allowed")
def _too_slow_after_all_was_whole_again(history: History) -> History:
    history = bend(history, find(history, Fault), limit_s=None)
    return bend(history, sent(history, "bo", "c-2"), end=45)


@plants(13, "when the next fault came a send had taken 16.0 s, and 10 s are allowed")
def _stuck_from_one_fault_to_the_next(history: History) -> History:
    history = bend(history, sent(history, "bo", "c-2"), begin=24, end=50)
    return [*history, Fault("host cut off", "host1", 40, 45, limit_s=15, whole=46)]


@plants(13, "when the next fault came a send had taken 22.0 s, and 10 s are allowed")
def _stuck_until_all_was_killed(history: History) -> History:
    history = bend(history, sent(history, "bo", "c-2"), end=58)
    return [*history, Fault("all killed", "all", 50, 55, whole=60)]


@plants(13, "a send took 15.0 s, and 10 s are allowed")
def _put_off_and_never_taken(history: History) -> History:
    late = sent(history, "bo", "c-3")
    again = replace(late, begin=45, end=46)
    return [*bend(history, late, outcome="rejected", code="overloaded"), again]


@plants(13, "a send took 15.0 s, and 10 s are allowed")
def _put_off_again_and_again(history: History) -> History:
    late = sent(history, "bo", "c-3")
    put_off = replace(late, outcome="rejected", code="unavailable")
    return [*bend(history, late, outcome="rejected", code="overloaded"), replace(put_off, begin=45, end=46)]


@plants(13, "n2 grew by 450 MiB", events=2)
def _memory(history: History) -> History:
    return bend(history, find(history, Sample, node="n2", at=30), memory_bytes=500 * 2**20)


@plants(13, "n2 has 80 more descriptors at the end", events=2)
def _descriptors(history: History) -> History:
    return bend(history, find(history, Sample, node="n2", at=62), descriptors=100)


@plants(13, "n1 has 70 more tasks at the end", events=2)
def _tasks(history: History) -> History:
    return bend(history, find(history, Sample, node="n1", at=62), tasks=100)
