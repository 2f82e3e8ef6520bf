"""The checker of fault histories: it lets a good one pass, and finds each violation that is planted in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.faults.check_changes import changes_stay
from tests.faults.checker import CHECKS, check
from tests.faults.history import Edit, Event, Fault, Final, Join, Moderate, Page, Plan, Push, Send
from tests.faults.index import Index
from tests.faults.violations import NAMES, told

from .fault_histories import EPOCH, ROOM, bend, clean, find, of, said
from .fault_model import Model
from .fault_plants import History
from .fault_plants_time import PLANTS


@pytest.mark.parametrize(
    ("number", "text", "plant", "events"), PLANTS, ids=[plant.__name__ for _, _, plant, _ in PLANTS]
)
def test_a_planted_violation_is_found(number: int, text: str, plant: Callable[[History], History], events: int) -> None:
    found = check(plant(clean()))
    violation = next((one for one in found if one.number == number and text in one.text), None)
    assert violation is not None, told(found)
    assert 0 < len(violation.witness) <= events, violation
    assert len(str(violation)) < 2000
    assert text in told([violation])


def test_every_invariant_has_a_plant() -> None:
    assert {number for number, *_ in PLANTS} == set(NAMES) == {*CHECKS, 13}


def test_what_is_shown_too_late_is_not_called_lost() -> None:
    found = [one for number, _, plant, _ in PLANTS if number in (8, 11) for one in check(plant(clean()))]
    assert {one.what for one in found if one.number in (8, 11)} == {"stale", "wrong"}


def test_a_good_history_passes() -> None:
    assert told(check(clean())) == "all 13 invariants hold"


def _bo_sends(begin: float, end: float, *faults: Fault, put_off: str = "") -> History:
    """The good history, with his last message sent at another time, and refused in the end if so."""
    history = clean()
    history.remove(find(history, Fault))
    last = find(history, Send, cid="c-3")
    if put_off:
        refused = replace(last, begin=end - 1, end=end, outcome="rejected", code=put_off)
        return [*bend(history, last, begin=begin), *faults, refused]
    return [*bend(history, last, begin=begin, end=end), *faults]


_ALL_KILLED = Fault("all killed", "all", 20, 25, whole=60)
_NODE_KILLED = Fault("node killed", "n1", 62, 66, limit_s=10, whole=70)


@pytest.mark.parametrize(
    "history",
    [
        _bo_sends(15, 84, _ALL_KILLED),
        _bo_sends(21, 84, _ALL_KILLED),
        _bo_sends(59, 84, _ALL_KILLED),
        _bo_sends(59, 84, replace(_ALL_KILLED, whole=0)),
        _bo_sends(61, 70, _ALL_KILLED),
        _bo_sends(59, 71, _ALL_KILLED, _NODE_KILLED),
        _bo_sends(53, 71, _NODE_KILLED),
        _bo_sends(63, 75, _NODE_KILLED, Fault("node frozen", "n1", 66, 70, limit_s=10)),
        _bo_sends(31, 90, put_off="forbidden"),
    ],
)
def test_what_takes_no_longer_than_its_faults_allow_is_no_violation(history: History) -> None:
    assert told(check(history)) == "all 13 invariants hold"


def test_a_change_that_was_so_already_is_no_violation() -> None:
    again: list[Edit | Moderate] = [
        Edit(**of("ana", 33, 34, seq=9), target=4, body="a one, edited"),
        Moderate(**of("ana", 35, 36, seq=9), change="kick", peer="cy"),
        Moderate(**of("ana", 37, 38, seq=9), change="unban", peer="cy"),
        Moderate(**of("ana", 39, 40, seq=9), change="kick", peer="nobody"),
        Moderate(**of("dora", 41, 42, seq=0), change="leave", peer="dora"),
    ]
    assert told(check([*clean(), *again])) == "all 13 invariants hold"


def test_a_reading_is_not_blamed_for_what_it_cannot_show() -> None:
    history = [replace(entry, forward=entry.forward[8:]) if isinstance(entry, Final) else entry for entry in clean()]
    late = Edit(**of("ana", 59, 60.5, seq=10), target=4, body="a one, edited late")
    assert list(changes_stay(Index([*history, late]))) == []


@pytest.mark.parametrize(("end", "outcome"), [(60.5, "ok"), (59, "unknown")])
def test_an_edit_that_was_under_way_while_a_node_was_read_may_show(end: float, outcome: str) -> None:
    seq = 10 if outcome == "ok" else 0
    late = Edit(**of("ana", 58, end, outcome, seq=seq), target=4, body="a one, edited late")
    shown = [replace(said(4), body=late.body), said(5), said(6), said(9)]
    history = [replace(entry, backward=shown) if isinstance(entry, Final) else entry for entry in clean()]
    assert told(check([*history, late])) == "all 13 invariants hold"


@given(st.randoms(use_true_random=False), st.integers(0, 300))
def test_what_a_good_cluster_does_is_no_violation(random: Random, steps: int) -> None:
    found = check(Model(random).run(steps))
    assert not found, told(found)


def _long(messages: int, readers: int) -> History:
    """A room with readers on one node, and pages of ten for every tenth message."""
    node: dict[str, Any] = {"conn": 1, "node": "n1", "room": ROOM, "outcome": "ok", "epoch": EPOCH}
    who: list[dict[str, Any]] = [{"client": f"c{number}", "user": f"u{number}", **node} for number in range(readers)]
    events = [Event("msg", seq, 1000 + seq, "u0", f"c-{seq}", f"body {seq}") for seq in range(1, messages + 1)]
    history: History = [Plan(["n1"], [ROOM], 7)]
    history += [Join(**who[sub], begin=0, end=1, sub=sub, first=1, head=0) for sub in range(readers)]
    for one in events:
        sent: dict[str, Any] = {
            "seq": one.seq,
            "begin": one.seq,
            "end": one.seq + 0.5,
            "cid": one.cid,
            "body": one.body,
        }
        history.append(Send(**who[0], **sent, order=one.seq))
        history += [Push(sub, one.seq + 0.4, one) for sub in range(readers)]
        if one.seq % 10 == 0:
            times: dict[str, Any] = {"begin": one.seq + 0.6, "end": one.seq + 0.7}
            ten = [earlier.said for earlier in events[one.seq - 10 : one.seq]]
            history.append(Page(**who[1], **times, limit=10, first=1, head=one.seq, messages=ten))
    backward = [one.said for one in events]
    return [*history, Final("n1", ROOM, EPOCH, messages + 1, messages + 2, messages, backward, events)]


def test_a_long_history_is_judged_in_seconds() -> None:
    took_s = []
    for messages in (2_000, 10_000):
        history = _long(messages, readers=5)
        began = time.process_time()
        assert not check(history)
        took_s.append(time.process_time() - began)
    assert took_s[1] < 15 * took_s[0], "five times the history, and far more than five times the time"
    assert took_s[1] < 10
