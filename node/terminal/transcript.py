"""A room's messages as they stand, folded out of its events in order. Pure."""

from __future__ import annotations

from collections.abc import Callable

from node.protocol.pushes import DeleteEvent, EditEvent, MessageEvent, ReactEvent, RoomEvents

_KEPT = 1000


class Transcript:
    """The latest messages. Taking an event that is already contained in a message changes nothing."""

    def __init__(self) -> None:
        self.messages: dict[int, MessageEvent] = {}

    def take(self, event: RoomEvents) -> list[int]:
        """Fold an event in; returns the seqs of the messages that look different now."""
        match event:
            case MessageEvent():
                return self._add(event)
            case EditEvent() | DeleteEvent() | ReactEvent():
                message = self.messages.get(event.target)
                return self._change(message, event) if message else []
        return []

    def last(self, wanted: Callable[[MessageEvent], bool]) -> int | None:
        """The seq of the latest message that is not deleted and is wanted."""
        return next((seq for seq in reversed(self.messages) if self._is(seq, wanted)), None)

    def outdated(self) -> list[int]:
        """Forget the oldest messages if there are too many; returns their seqs."""
        old = list(self.messages)[: max(0, len(self.messages) - _KEPT)]
        for seq in old:
            del self.messages[seq]
        return old

    def _is(self, seq: int, wanted: Callable[[MessageEvent], bool]) -> bool:
        return not self.messages[seq].deleted and wanted(self.messages[seq])

    def _add(self, event: MessageEvent) -> list[int]:
        if event.seq in self.messages:
            return []
        self.messages[event.seq] = event
        first = self.messages.get(event.thread) if event.thread is not None else None
        if first is None:
            return [event.seq]
        first.replies += 1
        return [event.seq, first.seq]

    def _change(self, message: MessageEvent, event: EditEvent | DeleteEvent | ReactEvent) -> list[int]:
        match event:
            case EditEvent():
                message.body, message.edited, message.mentions = event.body, event.ts, event.mentions
            case DeleteEvent():
                message.body, message.deleted = "", True
            case ReactEvent():
                others = [user for user in message.reactions.get(event.emoji, []) if user != event.from_]
                users = [*others, event.from_] if event.on else others
                message.reactions = {**message.reactions, event.emoji: users}
        return [message.seq]
