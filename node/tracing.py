"""One id for each message, from the request of its sender to each of its readers, in log lines of level DEBUG.

The id follows from what every node knows of a message (room, sender, ``cid``), so nothing needs to travel or be stored
for it, and it is the same on all nodes. Only a node whose ``LOG_LEVEL`` is DEBUG has a tracer: a line for every message
and reader is for finding a fault, and the hot paths of all others only see that there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec
import structlog

from node.protocol.pushes import MessageEvent
from node.state.model import Event
from node.state.outcome import Outcome, Rejected
from node.state.records import AnyRecord, SendMessage

_REMEMBERED = 10_000
_decode_record = msgspec.json.Decoder(AnyRecord).decode
_decode_event = msgspec.json.Decoder(MessageEvent).decode

logger = structlog.get_logger()


def trace_id(room: str, user: str, cid: str) -> str:
    """The id of a message, 16 hexadecimal digits."""
    return blake2b(f"{room}\0{user}\0{cid}".encode(), digest_size=8).hexdigest()


class Tracer:
    """Tells where a message is. Everything but messages is passed over."""

    def __init__(self) -> None:
        self._traces: dict[tuple[str, int], str] = {}

    def received(self, record: AnyRecord, conn: str) -> None:
        """A client has sent it."""
        if isinstance(record, SendMessage):
            logger.debug("message received", trace=_of(record), conn=conn, room_id=record.room, cid=record.cid)

    def appended(self, entry_id: str, raws: Iterable[bytes]) -> None:
        """The log has it, in an entry among others."""
        for raw in raws:
            record = _decode_record(raw)
            if isinstance(record, SendMessage):
                logger.debug("message appended", trace=_of(record), entry=entry_id)

    def applied(self, events: Iterable[Event], position: int) -> None:
        """It is part of this node's state, and on its way to who is here."""
        for event in events:
            if event.payload.startswith(b'{"op":"msg"'):
                message = _decode_event(event.payload)
                trace = trace_id(message.room, message.from_, message.cid)
                self._traces[event.room, event.seq] = trace
                logger.debug("message applied", trace=trace, room_id=event.room, seq=event.seq, position=position)
        while len(self._traces) > _REMEMBERED:
            del self._traces[next(iter(self._traces))]

    def acknowledged(self, record: AnyRecord, outcome: Outcome, conn: str) -> None:
        """Its sender is being told what became of it."""
        if not isinstance(record, SendMessage):
            return
        if isinstance(outcome, Rejected):
            logger.debug("message refused", trace=_of(record), conn=conn, code=outcome.code.value)
        else:
            logger.debug("message acknowledged", trace=_of(record), conn=conn, seq=outcome.seq, dup=outcome.dup)

    def delivered(self, spans: Iterable[tuple[str, int, int]], conn: str, user: str) -> None:
        """Events ``first`` to ``end - 1`` of rooms are written to a client."""
        for room, first, end in spans:
            for seq in range(first, end):
                trace = self._traces.get((room, seq))
                if trace is not None:
                    logger.debug("message delivered", trace=trace, conn=conn, user=user, room_id=room, seq=seq)


def _of(record: SendMessage) -> str:
    return trace_id(record.room, record.user, record.cid)
