"""Judges a recorded history by the invariants of a chat log. Pure: no clock, no chance, no input.

The invariants are those of :data:`tests.faults.violations.NAMES`. Every check takes time in proportion to the history,
but for a sort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tests.faults.check_access import nothing_after_parting
from tests.faults.check_liveness import Limits, goes_on
from tests.faults.check_messages import acknowledged_stays, cid_is_one_message, nothing_unsent, refused_never_appears
from tests.faults.check_order import every_event_once, head_never_back, next_join_shows, pipelined, real_time
from tests.faults.check_places import one_value, pages_tile
from tests.faults.history import Entry
from tests.faults.index import Index
from tests.faults.violations import Violation

CHECKS: dict[int, Callable[[Index], Iterator[Violation]]] = {
    1: acknowledged_stays,
    2: refused_never_appears,
    3: nothing_unsent,
    4: one_value,
    5: every_event_once,
    6: real_time,
    7: pipelined,
    8: next_join_shows,
    9: pages_tile,
    10: cid_is_one_message,
    11: head_never_back,
    12: nothing_after_parting,
}


def check(history: Iterable[Entry], limits: Limits | None = None) -> list[Violation]:
    """All violations in a history, in order of the invariants."""
    return check_index(Index(history), limits)


def check_index(index: Index, limits: Limits | None = None) -> list[Violation]:
    """As :func:`check`, of a history that is in order already."""
    found = [violation for checker in CHECKS.values() for violation in checker(index)]
    return [*found, *goes_on(index, limits or Limits())]
