"""When entries begin: together where many say little, at once for who is alone."""

from __future__ import annotations

import math

import pytest

from node.pace import COMPANY, CROWD, ENTRY_EVERY_S, Pace

AT_ONCE = -math.inf


def paced(records_s: float, seconds: float = 1.0) -> tuple[Pace, float]:
    """A pace after so many records a second, one an entry, for some time; and the time it is then."""
    pace, now = Pace(), 0.0
    while now < seconds:
        pace.begin(1, now)
        now += 1 / records_s
    return pace, now - 1 / records_s


def test_the_first_and_who_is_alone_do_not_wait() -> None:
    assert Pace().due == AT_ONCE
    # As fast as one after the other may be: a commit takes a millisecond and a half.
    assert paced(600)[0].due == AT_ONCE


def test_many_that_come_one_by_one_wait_for_each_other() -> None:
    pace, last = paced(1.2 * COMPANY / ENTRY_EVERY_S)
    assert pace.due == pytest.approx(last + ENTRY_EVERY_S)


def test_a_crowd_fills_entries_by_itself() -> None:
    assert paced(1.2 * CROWD / ENTRY_EVERY_S)[0].due == AT_ONCE


def test_a_rush_is_forgotten() -> None:
    pace, last = paced(2000)
    pace.begin(1, last + 0.5)
    assert pace.due == AT_ONCE


def test_an_entry_counts_with_all_its_records() -> None:
    pace, now = Pace(), 0.0
    while now < 1.0:
        pace.begin(2 * COMPANY, now)
        now += ENTRY_EVERY_S
    assert pace.due > AT_ONCE
