"""Parts of the terminal client: messages as they stand, lines understood, nothing that steers or ends the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.client import RoomFeed, open_client
from node.errors import RequestError
from node.protocol.pushes import DeleteEvent, EditEvent, MemberEvent, MessageEvent, ReactEvent, RoomEvents
from node.terminal import words
from node.terminal.commands import FORMS, Entered, NotUnderstood, help_lines, parse
from node.terminal.conversation import Conversation
from node.terminal.transcript import Transcript

from .local_node import local_node


def said(seq: int, body: str = "x", user: str = "ana", thread: int | None = None) -> MessageEvent:
    return MessageEvent("a", seq, f"c{seq}", user, seq, body, reply_to=thread, thread=thread)


def text(message: MessageEvent, answered: MessageEvent | None = None) -> str:
    return "".join(piece for _, piece in words.message(message, "bo", answered))


EVENTS: list[tuple[RoomEvents, list[int]]] = [
    (said(1, "one"), [1]),
    (said(2, "two", thread=1), [2, 1]),
    (EditEvent("a", 3, 1, "ana", 3, "uno"), [1]),
    (ReactEvent("a", 4, 1, "bo", 4, "+", on=True), [1]),
    (ReactEvent("a", 5, 1, "cy", 5, "+", on=True), [1]),
    (ReactEvent("a", 6, 1, "bo", 6, "+", on=False), [1]),
    (DeleteEvent("a", 7, 2, "ana", 7), [2]),
    (EditEvent("a", 8, 99, "ana", 8, "of a message from before"), []),
    (MemberEvent("a", 9, "bo", "join", 9), []),
]


def test_events_are_folded_into_messages_once() -> None:
    transcript = Transcript()
    assert [transcript.take(event) for event, _ in EVENTS] == [changed for _, changed in EVENTS]
    one, two = transcript.messages.values()
    assert text(one) == "#1 ana: uno (edited) (1 reply)\n+ cy"
    assert text(two, one) == "> #1 ana: uno\n#2 ana: (deleted)"
    for event, _ in EVENTS:  # as after a reconnect, when the history has them already
        transcript.take(event)
    assert text(one) == "#1 ana: uno (edited) (1 reply)\n+ cy"
    assert text(two) == "> #1\n#2 ana: (deleted)"


def test_a_transcript_keeps_the_latest() -> None:
    transcript = Transcript()
    for seq in range(1, 1004):
        transcript.take(said(seq, user="ana" if seq % 2 else "bo"))
    assert transcript.outdated() == [1, 2, 3]
    assert transcript.outdated() == []
    transcript.take(DeleteEvent("a", 1004, 1003, "ana", 1))
    assert transcript.last(lambda message: message.from_ == "ana") == 1001


@pytest.mark.parametrize(
    ("line", "entered"),
    [
        ("hello", Entered("send", "hello")),
        ("two\nlines", Entered("send", "two\nlines")),
        ("//quit", Entered("send", "/quit")),
        ("/edit #45 new  text", Entered("edit", "new  text", 45)),
        ("/edit new", Entered("edit", "new")),
        ("/delete", Entered("delete")),
        ("/delete #7", Entered("delete", "", 7)),
        ("/react #7 +", Entered("react", "+", 7)),
        ("/join general ", Entered("join", "general")),
    ],
)
def test_a_line_is_understood(line: str, entered: Entered) -> None:
    assert parse(line) == entered


@pytest.mark.parametrize(("line", "why"), [("/fly", "no /fly"), ("/", "no /"), ("/edit #4", "/edit [#N] TEXT")])
def test_a_line_that_is_not_says_what_would_be(line: str, why: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        parse(line)
    assert why in str(refused.value)


def test_help_names_every_command() -> None:
    assert [line.split()[0] for line in help_lines()[:-1]] == [f"/{name}" for name in FORMS]


@pytest.mark.parametrize("character", [chr(code) for code in (*range(9), 11, 13, 27, 127, 155, 0x202E, 0x2066, 0xFEFF)])
def test_what_could_steer_a_terminal_is_replaced(character: str) -> None:
    event = said(1, f"a{character}b")
    event.reactions = {f"+{character}": ["bo"]}
    shown = text(event) + words.described(event) + words.one_line(event.body)
    assert character not in shown
    assert "a\N{REPLACEMENT CHARACTER}b" in shown


def test_names_have_steady_styles() -> None:
    assert [words.name_style(user) for user in ("ana", "bo", "cy")] == ["name0", "name5", "name5"]


def test_names_are_not_endless() -> None:
    assert words.names(["a", "b"], 2) == "a, b"
    assert words.names(["a", "b", "c", "d"], 2) == "a, b and 2 more"


async def test_it_does_not_end_because_typing_was_said_too_early(tmp_path: Path) -> None:
    """As over a new connection, on which the room is not joined yet."""
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as client:
        await client.create_room("a")
        with pytest.raises(RequestError):
            await client.typing("a")
        await Conversation(client, "ana", RoomFeed("a", 0, None)).say_typing()
