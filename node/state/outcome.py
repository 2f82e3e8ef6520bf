"""What becomes of a record."""

from __future__ import annotations

from dataclasses import dataclass

from node.errors import ChatError, ErrorCode


@dataclass(frozen=True, slots=True)
class Accepted:
    """The record took effect. ``dup``: it had done so before, or there was nothing left to change."""

    seq: int
    ts: int
    dup: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The record had no effect, and why."""

    code: ErrorCode
    msg: str


Outcome = Accepted | Rejected


class Refusal(ChatError):
    """Raised by a rule; becomes :class:`Rejected`. Nothing has been changed when it is raised."""

    def __init__(self, code: ErrorCode, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
