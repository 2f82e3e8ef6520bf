"""The terminal client as people see it, in tmux."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from node.auth import sign_token

from .accounts import put_account
from .process import NodeProcess, chat_node
from .terminal import Terminal

pytestmark = pytest.mark.timeout(120)
COLOUR = re.compile(r"\x1b\[[\d;]*(?:3[0-7]|38;5;\d+)m")
ROOM = ("--room", "general", "--create")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess.running(tmp_path, heartbeat_timeout=1) as node:
        yield node


def send(node: NodeProcess, user: str, body: str) -> None:
    done = chat_node("send", "--user", user, *ROOM, body, chat_url=node.url)
    assert done.returncode == 0, done.stderr


def chat(
    node: NodeProcess, user: str, more: Sequence[str] = (), **settings: object
) -> contextlib.AbstractContextManager[Terminal]:
    return Terminal.running("--user", user, *more, *ROOM, chat_url=node.url, **settings)


def test_two_people_chat(node: NodeProcess) -> None:
    send(node, "cy", "said before")
    with chat(node, "ana", term="vt100") as ana, chat(node, "bo") as bo:
        for terminal in (ana, bo):
            terminal.wait("cy: said before", "general - on node1", "here: ana, bo")
        bo.type("hello")
        ana.wait("bo typing")
        bo.say(" ana")
        ana.wait("bo: hello ana", without="bo typing")
        ana.say("/reply hello bo")
        bo.wait("> #", " bo: hello ana", "ana: hello bo")
        ana.say("/react 👍")
        bo.wait("👍 ana")
        ana.say("/edit hello, dear bo")
        bo.wait("ana: hello, dear bo (edited)")
        ana.say("/delete")
        bo.wait("ana: (deleted)", without="dear bo")
        bo.type("", "C-d")
        bo.wait("ended with 0")
        ana.wait("here: ana", without="here: ana, bo")


def test_nothing_is_lost_when_the_node_is_killed_while_people_write(node: NodeProcess) -> None:
    with chat(node, "ana", term="vt100") as ana, chat(node, "bo") as bo:
        bo.wait("here: ana, bo")
        bo.say("before")
        ana.wait("bo: before")
        ana.type("half a sen")
        node.kill()
        ana.wait("general - not connected", "reconnecting: ", "who is here is not known", "> half a sen")
        bo.wait("not connected")
        bo.say("said while the node was away")
        bo.wait("bo: said while the node was away (not sent yet)")
        node.start()
        ana.wait("on node1", "here: ana, bo", "bo: said while the node was away", "> half a sen")
        bo.wait("on node1", "bo: said while the node was away", without="not sent yet")
        ana.say("tence")
        bo.wait("ana: half a sentence")
        for terminal in (ana, bo):
            assert terminal.screen().count("said while the node was away") == 1
            assert terminal.screen().count("before") == 1
    shown = chat_node("tail", "--user", "cy", *ROOM, "--count", "3", chat_url=node.url).stdout
    assert re.findall(r"bo: said|ana: half", shown) == ["bo: said", "ana: half"]


def test_what_others_write_cannot_steer_the_terminal(node: NodeProcess) -> None:
    with chat(node, "ana") as ana:
        ana.wait("here: ana")
        send(node, "bo", "harmless")
        send(node, "bo", "\x1b[2J\x1b[1;1H\x1b]0;title\x07\x9b2J\r\u202ecaught")
        ana.wait("caught", "harmless", "general - on node1")
        send(node, "bo", "line\nbreaks are kept")
        ana.wait("bo: line", "\n      breaks are kept")


def test_a_line_that_is_not_understood_stays(node: NodeProcess) -> None:
    with chat(node, "ana") as ana:
        ana.wait("here: ana")
        ana.say("/fly")
        ana.wait("there is no /fly; /help lists what there is", "> /fly")
        ana.type("", "C-a", "C-k", "C-u", *["BSpace"] * 4)
        ana.say("//help is no command here")
        ana.wait("ana: /help is no command here")
        ana.say("/react 👍")
        ana.wait("there is no message; name one: /react #N")
        ana.say("/join nowhere")
        ana.wait("no room")
        ana.say("/dm bo")
        ana.wait("dm.", "here: ana", without="/dm bo")
        ana.say("for you")
        ana.wait("ana: for you")
        ana.say("/join general")
        ana.wait("/help is no command here", without="for you")
        ana.say("/rooms gen")
        ana.wait("general", "1 members, you: owner")
        ana.say("/who")
        ana.wait("*ana (owner)")


def test_what_is_meant_for_a_room_that_is_not_there_yet_is_not_said_in_the_one_that_is(node: NodeProcess) -> None:
    with chat(node, "ana") as ana:
        ana.wait("here: ana")
        node.process.suspend()
        ana.say("/dm bo")
        ana.say("for you alone")
        ana.wait("another room is being opened", "> for you alone")
        node.process.resume()
        ana.wait("dm.", "> for you alone", without="another room")
        ana.type("", "Enter")
        ana.wait("ana: for you alone")
        ana.say("/join general")
        ana.wait("general - on node1", without="ana: for you alone")


def test_names_have_colours_only_where_they_are_wanted(node: NodeProcess) -> None:
    send(node, "ana", "one")
    with chat(node, "ana") as ana, chat(node, "ana", no_color=1) as plain:
        for terminal in (ana, plain):
            terminal.wait("ana: one")
            terminal.say("two")
        ana.wait("#3 ana: two", "#4 ana: two")
        plain.wait("#3 ana: two", "#4 ana: two")
        styles = set(re.findall(r"((?:\x1b\[[\d;]*m)+)ana: ", ana.screen(styled=True)))
        assert len(styles) == 1
        assert COLOUR.search(styles.pop())
        assert not COLOUR.search(plain.screen(styled=True))


def test_being_refused_gives_the_terminal_back_with_the_reason(tmp_path: Path) -> None:
    key = "a-key-that-is-long-enough-for-hs256"
    with NodeProcess.running(tmp_path, auth_mode="token", jwt_key=key) as node, chat(node, "ana") as ana:
        ana.wait("closed by the node (4500)", "ended with 1")


async def test_a_password_is_asked_for_or_read_and_never_shown(tmp_path: Path) -> None:
    await put_account(tmp_path / "data", "ana", "correct horse")
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    with NodeProcess.running(tmp_path, auth_mode="accounts") as node:
        with chat(node, "ana", more=["--ask-password"]) as ana:
            ana.wait("Password of ana:")
            ana.say("correct horse")
            ana.wait("here: ana")
            assert "correct" not in ana.screen()
        said = chat_node("send", "--user", "ana", "--password-file", str(secret), *ROOM, "hello", chat_url=node.url)
        assert said.returncode == 0, said.stderr
        secret.write_text("wrong\n")
        refused = chat_node("rooms", "--user", "ana", "--password-file", str(secret), chat_url=node.url)
        assert (refused.returncode, "4500" in refused.stderr) == (1, True)


def test_a_token_file_is_read_for_every_connection(tmp_path: Path) -> None:
    old, new = "an-old-key-that-is-long-enough-for-hs256", "a-new-key-that-is-long-enough-for-hs256"
    file, key = tmp_path / "token", tmp_path / "key"
    file.write_text(sign_token(old, "ana", time.time(), 600))
    key.write_text(old)
    with NodeProcess.running(tmp_path, auth_mode="token", jwt_key_file=key) as node:
        with Terminal.running("--token-file", str(file), *ROOM, chat_url=node.url) as ana:
            ana.wait("on node1 as ana")
            node.kill()
            ana.wait("not connected")
            key.write_text(new)
            file.write_text(sign_token(new, "ana", time.time(), 600))
            node.start()
            ana.wait("here: ana")
        expired = sign_token(new, "ana", time.time(), -1)
        with Terminal.running(*ROOM, chat_url=node.url, chat_token=expired) as ana:
            ana.wait("closed by the node (4014)", "ended with 1")


def test_without_a_terminal_it_says_what_to_use() -> None:
    done = chat_node("chat", "--user", "ana", "--room", "general")
    assert done.returncode == 2
    assert "chat-node tail" in done.stderr
