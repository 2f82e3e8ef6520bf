"""What a checker finds, and how it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tests.faults.history import Entry, Event, Final, Page, Said, shown

What = Literal["lost", "repeated", "reordered", "wrong", "stale", "slow"]

NAMES = {
    1: "what is acknowledged stays, once, in its place, on every node",
    2: "what is refused never appears; what is unknown appears once at most",
    3: "nothing appears that nobody sent",
    4: "one place in a room has one value",
    5: "a client sees every event once and in order, or is told that it does not",
    6: "what is sent after an acknowledgement comes after it",
    7: "sends of one connection keep their order",
    8: "what is acknowledged shows in the next join",
    9: "pages fit together, and with what came live",
    10: "a cid stands for one message of one user",
    11: "a room's head does not go back within an epoch",
    12: "nothing is delivered after a kick, ban or leave",
    13: "sends go on in time, and nodes stay bounded",
}
_SHOWN_OF_EACH = 3


class Violation(Struct):
    """An invariant that does not hold.

    Attributes:
        number: of the invariant, a key of :data:`NAMES`.
        what: the kind of harm; stale is what was shown too late, or no more for a while; it is not lost.
        witness: the few events that show it.
    """

    number: int
    what: What
    text: str
    witness: Sequence[Entry]

    def __str__(self) -> str:
        return f"[{self.number}] {NAMES[self.number]}: {self.text}\n{shown(self.witness)}"


def told(violations: Sequence[Violation]) -> str:
    """A report for people: how many of each, and the first few in full."""
    if not violations:
        return f"all {len(NAMES)} invariants hold"
    counts = Counter(violation.number for violation in violations)
    lines = [f"{count} x [{number}] {NAMES[number]}" for number, count in sorted(counts.items())]
    for number in sorted(counts):
        lines += [str(found) for found in violations if found.number == number][:_SHOWN_OF_EACH]
    return "\n".join(lines)


def only(final: Final, messages: Sequence[Said] = (), events: Sequence[Event] = ()) -> Final:
    """A final reading with nothing in it but this."""
    return replace(final, backward=list(messages), forward=list(events))


def cut(page: Page, *messages: Said) -> Page:
    """A page with nothing in it but these messages."""
    return replace(page, messages=list(messages))
