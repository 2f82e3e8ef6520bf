"""What a client says, taken out of its bytes a read at a time, before the WebSocket library is asked.

Nearly every message is one final, masked text frame. Those are read here, all that a read brought in one go, and pings
and pongs too, which any idle client sends now and then. From the first thing on that is anything else (a fragment, a
close, a broken rule, a frame that is too large) every byte is the library's, for good: so the rules of RFC 6455 are
kept in one place, and what was said before comes first.
"""

from __future__ import annotations

_TEXT, _PING, _PONG = 0x81, 0x89, 0x8A
_MASKED, _WIDE = 0x80, 0xFE
_SHORT_HEADER, _WIDE_HEADER = 6, 8
_LEAST_WIDE = 126


class Inbound:
    """Texts out of bytes.

    Args:
        max_frame_bytes: longer frames are left to the library, which refuses them.

    Attributes:
        texts: messages that wait to be taken up.
        ping: what the latest ping said that is not answered; earlier ones need no answer (RFC 6455, 5.5.3).
        over: whether everything is the library's from now on.
    """

    __slots__ = ("_kept", "_max_frame_bytes", "over", "ping", "texts")

    def __init__(self, max_frame_bytes: int) -> None:
        self.texts: list[str] = []
        self.ping: bytes | None = None
        self.over = False
        self._max_frame_bytes = max_frame_bytes
        self._kept = b""

    def take(self, data: bytes) -> bytes:
        """Take what was received; returns what the library is to have of it: nothing, or the rest."""
        if self.over:
            return data
        data = self._kept + data if self._kept else data
        at = 0
        while at < len(data) and not self.over:
            end = self._end_of_frame(data, at)
            if end > len(data):
                break
            if data[at] == _TEXT:
                self._read_text(data, at, end)
            elif data[at] == _PING:
                self.ping = _payload(data, at + _SHORT_HEADER, end)
            at = end if not self.over else at
        rest = data[at:]
        self._kept = b"" if self.over else rest
        return rest if self.over else b""

    def give_up(self) -> None:
        """Leave the rest to the library; an unfinished frame is lost, as there will be no more of it."""
        self.over = True

    def _end_of_frame(self, data: bytes, at: int) -> int:
        """Where the frame at ``at`` ends, beyond ``data`` if that is not known; sets :attr:`over` for a strange one."""
        unknown = len(data) + 1
        first = data[at]
        if first not in (_TEXT, _PING, _PONG):
            self.over = True
        if self.over or len(data) < at + 2:
            return unknown
        second = data[at + 1]
        if _MASKED <= second < _WIDE:
            return at + _SHORT_HEADER + (second - _MASKED)
        if second != _WIDE or first != _TEXT:
            self.over = True
            return unknown
        if len(data) < at + 4:
            return unknown
        length = data[at + 2] << 8 | data[at + 3]
        self.over = not _LEAST_WIDE <= length <= self._max_frame_bytes
        return unknown if self.over else at + _WIDE_HEADER + length

    def _read_text(self, data: bytes, at: int, end: int) -> None:
        start = at + (_WIDE_HEADER if data[at + 1] == _WIDE else _SHORT_HEADER)
        try:
            self.texts.append(_payload(data, start, end).decode())
        except UnicodeDecodeError:
            self.over = True


def _payload(data: bytes, start: int, end: int) -> bytes:
    """Unmasked (RFC 6455, 5.3); as one long number, because a loop over bytes is many times slower."""
    length = end - start
    key = (data[start - 4 : start] * (length // 4 + 1))[:length]
    return (int.from_bytes(data[start:end]) ^ int.from_bytes(key)).to_bytes(length)
