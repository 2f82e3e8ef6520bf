"""Events in words for a person. Nothing that others wrote leaves here with a control character in it."""

from __future__ import annotations

import time
import zlib

from node.protocol.pushes import (
    DeleteEvent,
    EditEvent,
    MemberEvent,
    MessageEvent,
    ReactEvent,
    RoomEvent,
    RoomEvents,
)

Markup = list[tuple[str, str]]
"""Pieces of text, each with the name of its style."""

NAME_STYLES = 6
_QUOTE_CHARACTERS = 60


def printable(body: str) -> str:
    """Without control characters, which could steer the terminal."""
    lines = body.replace("\r\n", "\n")
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in lines)


def one_line(body: str) -> str:
    """:func:`printable`, and short enough to be quoted."""
    text = " ".join(printable(body).split())
    return text if len(text) <= _QUOTE_CHARACTERS else text[: _QUOTE_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def clock(ts: int, form: str = "%H:%M") -> str:
    """The local time of a moment given in Unix milliseconds."""
    return time.strftime(form, time.localtime(ts / 1000))


def described(event: RoomEvents) -> str:
    """An event in one line, by itself."""
    match event:
        case MessageEvent():
            return f"{event.from_}: {printable(event.body)}"
        case EditEvent():
            return f"{event.from_}: {printable(event.body)} (instead of {event.target})"
        case DeleteEvent():
            return f"-- {event.from_} deleted {event.target}"
        case ReactEvent():
            return f"-- {event.from_} {'put' if event.on else 'took back'} {printable(event.emoji)} on {event.target}"
        case MemberEvent():
            by = f" by {event.by}" if event.by else ""
            return f"-- {event.user}: {event.change}{f' {event.role}' if event.role else ''}{by}"
        case RoomEvent():
            title = f": {one_line(event.title)}" if event.title else ""
            return f"-- room {event.change} by {event.by}{title}"


def name_style(user: str) -> str:
    """The style of a name: the same on every machine and every day."""
    return f"name{zlib.crc32(user.encode()) % NAME_STYLES}"


def message(event: MessageEvent, me: str, answered: MessageEvent | None) -> Markup:
    """A message as it stands now.

    Args:
        me: the user who reads it; being mentioned is shown.
        answered: the message that it replies to, if that is known.
    """
    said = f" {answered.from_}: {one_line(_said(answered))}" if answered else ""
    quote = [("dim", f"> #{event.reply_to}{said}\n")] if event.reply_to is not None else []
    style = "dim" if event.deleted else "mention" if me in event.mentions else "body"
    body = "(deleted)" if event.deleted else printable(event.body)
    notes = " (edited)" if event.edited and not event.deleted else ""
    notes += f" ({event.replies} {'reply' if event.replies == 1 else 'replies'})" if event.replies else ""
    marks = "  ".join(f"{printable(emoji)} {', '.join(users)}" for emoji, users in event.reactions.items() if users)
    return [
        *quote,
        ("dim", f"#{event.seq} "),
        (name_style(event.from_), f"{event.from_}: "),
        (style, body),
        *([("dim", notes)] if notes else []),
        *([("dim", f"\n{marks}")] if marks and not event.deleted else []),
    ]


def unsent(me: str, body: str, note: str, style: str = "dim") -> Markup:
    """A message of one's own that no node has acknowledged."""
    return [(name_style(me), f"{me}: "), ("body", printable(body)), (style, f" ({note})")]


def names(users: list[str], most: int = 12) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(users) - most} more" if len(users) > most else ""
    return ", ".join(users[:most]) + more


def _said(event: MessageEvent) -> str:
    return "(deleted)" if event.deleted else event.body
