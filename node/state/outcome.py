"""What becomes of a record."""

from __future__ import annotations

import msgspec

from node.errors import ChatError, ErrorCode


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The record took effect. ``dup``: it had done so before, or there was nothing left to change."""

    seq: int
    ts: int
    dup: bool = False


class Rejected(msgspec.Struct, frozen=True, gc=False):
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
