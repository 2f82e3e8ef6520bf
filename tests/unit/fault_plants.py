"""Violations, each planted in the good history of :mod:`fault_histories`; those of time: :mod:`fault_plants_time`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from tests.faults.history import Edit, Entry, Event, Fault, Final, Join, Moderate, Page, Push, Send, State

from .fault_histories import EPOCH, EVENTS, after, bend, event, find, of, pushes, said, without

History = list[Entry]
PLANTS: list[tuple[int, str, Callable[[History], History], int]] = []
"""Invariant, text of its violation, how to plant it, and how many events show it at most."""


def plants(number: int, text: str, events: int = 4) -> Callable[[Callable[[History], History]], None]:
    """Add a planted violation."""
    return lambda plant: PLANTS.append((number, text, plant, events))


def sent(history: History, user: str, cid: str, **more: object) -> Send:
    return find(history, Send, user=user, cid=cid, **more)


def last(history: History, node: str = "n1") -> Final:
    return find(history, Final, node=node)


def pushed(history: History, sub: int, seq: int) -> Push:
    return next(entry for entry in history if isinstance(entry, Push) and (entry.sub, entry.event.seq) == (sub, seq))


# --- 1: what is acknowledged stays ---


@plants(1, "acknowledged, and gone")
def _gone_from_one_node(history: History) -> History:
    return bend(history, last(history, "n2"), backward=[said(seq) for seq in (4, 6, 9)])


@plants(1, "there 2 times")
def _twice(history: History) -> History:
    again = replace(said(9), seq=10)
    return bend(history, last(history), backward=[*last(history).backward, again])


@plants(1, "stands at 9")
def _at_another_place(history: History) -> History:
    return bend(history, sent(history, "bo", "c-2"), seq=5)


@plants(1, "the epoch is another one")
def _of_an_epoch_that_is_gone(history: History) -> History:
    for node in ("n1", "n2"):
        history = bend(history, last(history, node), epoch="e2")
    return history


@plants(1, "did not show")
def _a_node_is_not_asked(history: History) -> History:
    return without(history, last(history, "n2"))


@plants(1, "on n2, r 7: acknowledged, and not there: edit of 4")
def _an_edit_is_gone(history: History) -> History:
    return bend(history, last(history, "n2"), forward=[event for event in EVENTS if event.seq != 7])


@plants(1, "on n1, r 7: acknowledged, and not there: edit of 4")
def _another_event_instead_of_an_edit(history: History) -> History:
    return bend(history, find(history, Edit, user="ana"), body="a one, edited otherwise")


@plants(1, "on n1, r 10: acknowledged, and not there: edit of 4")
def _an_edit_at_the_end_is_gone(history: History) -> History:
    return [*history, Edit(**of("ana", 33, 34, seq=10), target=4, body="a one, edited again")]


@plants(1, "on n1, r 8: acknowledged, and not there: kick of cy")
def _a_kick_is_gone(history: History) -> History:
    left = replace(event(8), op="msg", author="ana", cid="c-8", body="a three", user="", change="")
    return [_with(entry, left) for entry in history]


@plants(1, "on n2, r 9: acknowledged, and not there: ban of cy")
def _a_ban_is_gone(history: History) -> History:
    return [*history, Moderate(**of("ana", 33, 34, seq=9), change="ban", peer="cy")]


@plants(1, "on n1, r 9: acknowledged, and not there: kick of bo")
def _a_kick_that_changed_nothing(history: History) -> History:
    return [*history, Moderate(**of("ana", 33, 34, seq=9), change="kick", peer="bo")]


# --- 2: what is refused never appears ---


@plants(2, 'refused, and there: "cy\'s"')
def _a_refused_message_comes(history: History) -> History:
    late = Event("msg", 10, 1007, "cy", "c-9", "cy's")
    return after(history, pushed(history, 4, 9), Push(1, 29.5, late), Push(4, 29.5, late))


@plants(2, 'refused, and there: "cy\'s edit"')
def _a_refused_edit_comes(history: History) -> History:
    late = Event("edit", 9, 1007, "cy", body="cy's edit", target=4)
    return after(history, pushed(history, 1, 9), Push(1, 29.5, late))


@plants(2, "one message at 6 and 10", events=6)
def _an_unknown_one_comes_twice(history: History) -> History:
    again = replace(event(6), seq=10)
    return after(history, pushed(history, 4, 9), Push(4, 29.5, again))


# --- 3: nothing appears that nobody sent ---


@plants(3, "nobody sent 'ghost'")
def _nobody_sent_it(history: History) -> History:
    ghost = Event("msg", 10, 1007, "dora", "c-1", "ghost")
    return after(history, pushed(history, 4, 9), Push(4, 29.5, ghost))


@plants(3, "its body is 'b tw0'")
def _another_body(history: History) -> History:
    return bend(history, pushed(history, 4, 9), event=replace(event(9), body="b tw0"))


@plants(3, "shown before it was sent")
def _from_the_future(history: History) -> History:
    return bend(history, pushed(history, 4, 9), at=27.9)


@plants(3, "nobody edited")
def _an_edit_of_nobody(history: History) -> History:
    return bend(history, pushed(history, 4, 7), event=replace(event(7), body="a one, changed"))


# --- 4: one place, one value ---


@plants(4, "two events at r 8")
def _two_events_at_a_place(history: History) -> History:
    return bend(history, pushed(history, 4, 8), event=replace(event(8), ts=1004))


@plants(4, "two messages at r 5")
def _another_message_on_a_page(history: History) -> History:
    page = find(history, Page, before=6)
    return bend(history, page, messages=[said(4), replace(said(5), ts=1)])


@plants(4, "two messages acknowledged at r 9")
def _two_acknowledgements_for_a_place(history: History) -> History:
    unknown = sent(history, "bo", "c-3")
    return bend(history, unknown, outcome="ok", epoch=EPOCH, seq=9)


@plants(4, "r 4 ends in two ways")
def _an_edit_that_one_node_missed(history: History) -> History:
    missed = [said(4, edited=False), said(5), said(6), said(9)]
    return bend(history, last(history, "n2"), backward=missed)


@plants(4, "the replicas differ at log position 16")
def _another_digest(history: History) -> History:
    return bend(history, find(history, State, node="n2"), digests={8: "aa", 16: "bc"})


# --- 5: every event once, in order ---


@plants(5, "a hole: 6 instead of 5")
def _a_hole(history: History) -> History:
    return without(history, pushed(history, 1, 5))


@plants(5, "a step back: 5 instead of 6")
def _once_more(history: History) -> History:
    return after(history, pushed(history, 1, 5), *pushes(1, 11, 5))


@plants(5, "a hole: 7 instead of 6")
def _a_hole_over_a_reconnect(history: History) -> History:
    return without(history, pushed(history, 4, 6))


@plants(5, "a hole: 5 instead of 4")
def _a_hole_after_the_join(history: History) -> History:
    return without(history, pushed(history, 2, 4))


@plants(5, "nothing after 8")
def _silence(history: History) -> History:
    return without(history, pushed(history, 4, 9))


@plants(5, "a change of epoch was told that was none", events=1)
def _a_false_word(history: History) -> History:
    return bend(history, find(history, Join, sub=4), recovered=False, reason="epoch_changed", limit=1)


# --- 6: real time ---


@plants(6, "5 was sent after 9 was acknowledged", events=2)
def _overtaken(history: History) -> History:
    late = sent(history, "ana", "c-2")
    moved = bend(history, late, begin=30.5, end=31)
    return [bent if not isinstance(bent, Push | Page) else _later(bent) for bent in moved]


def _later(entry: Push | Page) -> Push | Page:
    return replace(entry, at=entry.at + 25) if isinstance(entry, Push) else entry


@plants(6, "9 was sent after 9 was acknowledged", events=2)
def _overtaken_by_an_edit(history: History) -> History:
    return bend(history, find(history, Edit, user="ana"), seq=9)


# --- 7: pipelines keep their order ---


@plants(7, "sent in order, and stand at 5 and 4", events=2)
def _swapped(history: History) -> History:
    one, two = sent(history, "ana", "c-1"), sent(history, "ana", "c-2")
    return bend(bend(history, one, order=1, begin=10.1), two, order=0, begin=10)


@plants(7, "sent in order, and stand at 9 and 6", events=2)
def _swapped_over_a_reconnect(history: History) -> History:
    again, new = sent(history, "bo", "c-1", conn=2), sent(history, "bo", "c-2")
    first = replace(new, conn=1, begin=12.9, end=15, outcome="unknown", epoch="", seq=0, order=0)
    history = bend(history, sent(history, "bo", "c-1", conn=1), order=1)
    return [*bend(bend(history, again, order=1, dup=False), new, begin=17.4, order=0), first]


# --- 8: what is acknowledged shows in the next join ---


@plants(8, "shows 4, and 5 was acknowledged", events=2)
def _a_stale_join(history: History) -> History:
    return bend(history, find(history, Join, sub=4), since=4, head=4)


# --- 9: pages tile ---


@plants(9, "a page has a hole at 6", events=3)
def _a_hole_in_a_page(history: History) -> History:
    return bend(history, find(history, Page, before=None), limit=3, messages=[said(5), said(9)])


@plants(9, "a page before 6 has 6", events=1)
def _a_page_goes_too_far(history: History) -> History:
    return bend(history, find(history, Page, before=6), limit=3, messages=[said(4), said(5), said(6)])


@plants(9, "a page is not in order", events=1)
def _a_page_out_of_order(history: History) -> History:
    return bend(history, find(history, Page, before=None), limit=4, messages=[said(4), said(6), said(5), said(9)])


@plants(9, "a page has a hole at 4", events=3)
def _an_empty_page(history: History) -> History:
    return bend(history, find(history, Page, before=6), messages=[])


@plants(9, "2 messages in a page of 1", events=1)
def _a_page_too_long(history: History) -> History:
    return bend(history, find(history, Page, before=6), limit=1)


@plants(9, "forward reading ends or has a hole after 5", events=1)
def _forward_is_not_backward(history: History) -> History:
    forward = [event for event in last(history).forward if event.seq != 6]
    return bend(history, last(history), forward=forward)


@plants(9, "backward reading lacks 10")
def _seen_live_and_gone(history: History) -> History:
    unknown = Event("msg", 10, 1008, "bo", "c-3", "b three")
    history = after(history, pushed(history, 1, 9), Push(1, 31.5, unknown))
    return bend(history, last(history, "n2"), head=10)


@plants(9, "r 4 ends as 'a one', and its events make it 'a one, edited'", events=1)
def _no_node_has_done_an_edit(history: History) -> History:
    plain = [said(4, edited=False), said(5), said(6), said(9)]
    return bend(bend(history, last(history), backward=plain), last(history, "n2"), backward=plain)


# --- 10: a cid is one message ---


@plants(10, "one cid, two answers")
def _two_answers(history: History) -> History:
    again = replace(sent(history, "bo", "c-2"), begin=33, end=34, seq=10, dup=True)
    copy = Push(4, 33.5, replace(event(9), seq=10))
    return after(history, pushed(history, 4, 9), again, copy)


@plants(10, "taken for a new message twice", events=2)
def _new_twice(history: History) -> History:
    return after(history, pushed(history, 4, 9), replace(sent(history, "bo", "c-2"), begin=33, end=34))


@plants(10, "used this cid for nothing else", events=1)
def _a_conflict_with_nothing(history: History) -> History:
    for send in [entry for entry in history if isinstance(entry, Send) and (entry.user, entry.cid) == ("bo", "c-1")]:
        history = bend(history, send, outcome="rejected", code="cid_conflict")
    return history


@plants(10, "ana's message answered for bo's", events=2)
def _anothers_cid(history: History) -> History:
    return bend(history, sent(history, "bo", "c-1", conn=2), seq=4)


@plants(10, "sent once, and answered as a repeat", events=1)
def _a_repeat_of_nothing(history: History) -> History:
    return bend(history, sent(history, "bo", "c-2"), dup=True)


# --- 11: the head does not go back ---


@plants(11, "n1 had 9 and shows 8", events=2)
def _the_head_goes_back(history: History) -> History:
    return bend(history, find(history, Page, before=6), head=8)


@plants(11, "5 was there, and is ahead now", events=1)
def _a_position_is_ahead(history: History) -> History:
    return bend(history, find(history, Join, sub=4), head=4, recovered=False, reason="position_ahead", limit=0)


@plants(11, "the epoch outlived a restore", events=3)
def _a_restore_without_an_epoch(history: History) -> History:
    return [*history, Fault("restore", "all", 15.2, 15.8)]


# --- 12: nothing after parting ---


@plants(12, "cy was shown 8 after their kick at 8")
def _shown_the_kick(history: History) -> History:
    return after(history, pushed(history, 3, 7), *pushes(3, 24, 8))


@plants(12, "cy was shown 8 after their ban at 8")
def _shown_the_ban(history: History) -> History:
    return [_as_ban(entry) for entry in after(history, pushed(history, 3, 7), *pushes(3, 24, 8))]


def _banned(event: Event) -> Event:
    return replace(event, change="ban") if event.seq == 8 else event


def _as_ban(entry: Entry) -> Entry:
    if isinstance(entry, Push):
        return replace(entry, event=_banned(entry.event))
    if isinstance(entry, Final):
        return replace(entry, forward=[_banned(event) for event in entry.forward])
    return entry


@plants(12, "cy was served at 9, after their kick at 8")
def _let_in_without_joining(history: History) -> History:
    return [*history, Join(**of("cy", 50, 51), sub=9, first=1, head=9)]


@plants(12, "cy was served at 9, after their kick at 8")
def _given_a_page(history: History) -> History:
    return [*history, Page(**of("cy", 50, 51), limit=1, first=1, head=9, messages=[said(9)])]


@plants(12, "bo was shown 9 after their leave at 8")
def _shown_more_after_leaving(history: History) -> History:
    left = replace(event(8), user="bo", change="leave", by="")
    return [_with(entry, left) for entry in without(history, pushed(history, 4, 8))]


def _with(entry: Entry, event: Event) -> Entry:
    if isinstance(entry, Push) and entry.event.seq == event.seq:
        return replace(entry, event=event)
    if isinstance(entry, Final):
        return replace(entry, forward=[event if one.seq == event.seq else one for one in entry.forward])
    return entry
