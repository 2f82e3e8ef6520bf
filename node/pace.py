"""How long records wait for company, so that many people who say little each share a commit.

An entry costs most of a millisecond of the processor whatever is in it: hops between threads, a transaction, a sync. So
where records come often, and one by one, an entry begins a moment after the last one did, and takes what came
meanwhile. Who is alone never waits, and neither do those who are so many that entries fill by themselves. The idea is
PostgreSQL's ``commit_delay`` with its ``commit_siblings``
(https://www.postgresql.org/docs/current/runtime-config-wal.html).
"""

from __future__ import annotations

import math

ENTRY_EVERY_S = 0.010
COMPANY = 8
"""Fewer records than these in that time are not worth the wait."""
CROWD = 40
"""So many in that time, and more, meet while the entry before them is written."""
_LOOKS_BACK_S = 0.1


class Pace:
    """When entries begin."""

    __slots__ = ("_began_at", "_records_s")

    def __init__(self) -> None:
        self._began_at = -math.inf
        self._records_s = 0.0

    @property
    def due(self) -> float:
        """When the next entry may begin, by Trio's clock; infinitely long ago if at once."""
        if COMPANY <= self._records_s * ENTRY_EVERY_S < CROWD:
            return self._began_at + ENTRY_EVERY_S
        return -math.inf

    def begin(self, records: int, now: float) -> None:
        """An entry of so many records begins. How many come in a second is a mean that forgets."""
        self._records_s *= math.exp((self._began_at - now) / _LOOKS_BACK_S)
        self._records_s += records / _LOOKS_BACK_S
        self._began_at = now
