"""What a person types, understood: text to send, or a command. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from node.errors import ChatError


class NotUnderstood(ChatError):
    """The line is no command; says what would be."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a command is written.

    Attributes:
        usage: what follows its name; ``[#N]`` is the number of a message, by default a sensible one.
        needs_rest: whether it wants something said after that.
    """

    usage: str
    does: str
    needs_rest: bool = False


FORMS = {
    "help": Form("", "show this"),
    "join": Form("ROOM", "open a room, or go to one that is open", needs_rest=True),
    "leave": Form("", "end your membership of this room"),
    "dm": Form("USER", "talk with one person", needs_rest=True),
    "rooms": Form("[PREFIX]", "list rooms"),
    "who": Form("", "list the members; * is here now"),
    "reply": Form("[#N] TEXT", "answer a message, by default the last of another", needs_rest=True),
    "react": Form("[#N] EMOJI", "put an emoji to a message; once more takes it away", needs_rest=True),
    "edit": Form("[#N] TEXT", "say it otherwise; by default your last message", needs_rest=True),
    "delete": Form("[#N]", "take a message back; by default your last"),
    "quit": Form("", "leave the program; you stay a member (also Ctrl-D)"),
}
KEYS = "PageUp and PageDown scroll; a line that begins with // is sent with one /"

_COMMAND = re.compile(r"/(\S*)(?:\s+#(\d+))?\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entered:
    """A line understood: ``name`` of the command (``send`` for text), ``seq`` of a message, and the ``rest``."""

    name: str
    rest: str = ""
    seq: int | None = None


def parse(line: str) -> Entered:
    """Understand a line.

    Raises:
        NotUnderstood: there is no such command, or it wants more; the text says what.
    """
    if not line.startswith("/") or line.startswith("//"):
        return Entered("send", line[1:] if line.startswith("//") else line)
    found = _COMMAND.fullmatch(line)
    name, number, rest = found.groups() if found else ("", None, "")
    form = FORMS.get(name)
    if form is None:
        raise NotUnderstood(f"there is no /{name}; /help lists what there is")
    if form.needs_rest and not rest.strip():
        raise NotUnderstood(f"it is written /{name} {form.usage}")
    return Entered(name, rest.strip(), int(number) if number else None)


def help_lines() -> list[str]:
    """The commands, one a line."""
    return [*(f"/{name} {form.usage}".ljust(20) + form.does for name, form in FORMS.items()), KEYS]
