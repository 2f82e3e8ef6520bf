"""What can be asked of the read model: history as it stands, threads, search, unread counts, listings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.state.model import Account
from node.state.reader import Reader
from node.state.records import (
    AnyRecord,
    Ban,
    CreateRoom,
    DeleteMessage,
    DeleteRoom,
    EditMessage,
    Invite,
    JoinRoom,
    LeaveRoom,
    MarkRead,
    Mute,
    OpenDm,
    PutAccount,
    React,
    SendMessage,
    SetRole,
)
from node.state.store import Store

from .history import entry

ROOM = CreateRoom("ana", 1, "a")


class Model:
    """A store and a reader of it; records are applied all at once or one by one."""

    def __init__(self, path: Path, together: bool) -> None:
        self.store = Store(path, "epoch")
        self.reader = Reader(path)
        self._together = together

    def apply(self, *records: AnyRecord) -> None:
        for group in [records] if self._together else [(record,) for record in records]:
            n = self.store.state.position + 1
            self.store.apply([(n, entry(*group, n=n))])
            self.store.write()

    def page(self, before: int = 99, thread: int | None = None, room_no: int = 1) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.reader.messages(room_no, before, 50, 10**6, thread)]

    def search(self, words: str, user: str = "ana", room_no: int | None = None) -> list[tuple[str, int]]:
        payloads, _ = self.reader.search(user, words, 50, 10**6, None, room_no)
        return [(message["room"], message["seq"]) for message in map(json.loads, payloads)]


@pytest.fixture(params=["together", "one by one"])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    model = Model(tmp_path / "store.sqlite", request.param == "together")
    with closing(model.store), closing(model.reader):
        yield model


def say(cid: str, body: str, user: str = "ana", room: str = "a", reply_to: int | None = None) -> SendMessage:
    return SendMessage(user, 2, room, cid, body, reply_to)


def test_history_shows_messages_as_they_stand_and_events_as_they_were(model: Model) -> None:
    model.apply(ROOM, JoinRoom("bo", 1, "a"), say("1", "one"), say("2", "two"), say("3", "three"))
    model.apply(
        EditMessage("ana", 3, "a", 3, "uno"), DeleteMessage("ana", 4, "a", 4), React("bo", 5, "a", 5, "+", True)
    )
    base = {"op": "msg", "room": "a", "from": "ana", "ts": 2}
    assert model.page() == [
        {**base, "seq": 3, "cid": "1", "body": "uno", "edited": 3},
        {**base, "seq": 4, "cid": "2", "body": "", "deleted": True},
        {**base, "seq": 5, "cid": "3", "body": "three", "reactions": {"+": ["bo"]}},
    ]
    told = [json.loads(payload) for payload in model.reader.events(1, 3, 8, 10**6)]
    assert [(e["op"], e["seq"], e.get("target"), e.get("body")) for e in told] == [
        ("msg", 3, None, "one"),
        ("msg", 4, None, "two"),
        ("msg", 5, None, "three"),
        ("edit", 6, 3, "uno"),
        ("delete", 7, 4, None),
        ("react", 8, 5, None),
    ]


def test_a_thread_is_its_first_message_and_all_answers(model: Model) -> None:
    model.apply(ROOM, say("1", "root"), say("2", "aside"), say("3", "re", reply_to=2), say("4", "re re", reply_to=4))
    assert [(m["seq"], m.get("replies"), m.get("reply_to")) for m in model.page(thread=2)] == [
        (2, 2, None),
        (4, None, 2),
        (5, None, 4),
    ]
    assert [m["seq"] for m in model.page(thread=2, before=5)] == [2, 4]
    assert [m["seq"] for m in model.page(thread=3)] == [3]


def test_search_finds_all_words_newest_first_where_the_user_belongs(model: Model) -> None:
    model.apply(
        ROOM, CreateRoom("bo", 1, "b"), say("1", "Ünï code"), say("2", "code x"), say("1", "uni CODE", "bo", "b")
    )
    assert model.search("code") == [("a", 3), ("a", 2)]
    assert model.search("uni") == [("a", 2)]
    assert model.search("code uni") == [("a", 2)]
    assert model.search("code", "bo") == [("b", 2)]
    assert model.search("code", "cy") == []
    model.apply(JoinRoom("ana", 3, "b"))
    assert model.search("code") == [("b", 2), ("a", 3), ("a", 2)]
    assert model.search("code", room_no=1) == [("a", 3), ("a", 2)]
    model.apply(Ban("bo", 4, "b", "ana"), LeaveRoom("ana", 4, "a"))
    assert model.search("code") == []


@pytest.mark.parametrize(
    "words", ['"', '""', "*", "a*", "x OR code", "NOT x", "(", "body:x", "^z", "-", " ", "\0", "x\0y", "'"]
)
def test_no_search_is_an_error(model: Model, words: str) -> None:
    model.apply(ROOM, say("1", "code x"))
    assert model.search(words) == []


@pytest.mark.parametrize("max_bytes", [10**6, 250, 1])
def test_pages_of_a_search_tile(model: Model, max_bytes: int) -> None:
    model.apply(ROOM, *(say(f"{i}", f"word {i}") for i in range(20)))
    found: list[int] = []
    before: int | None = None
    while True:
        payloads, before = model.reader.search("ana", "word", 6, max_bytes, before, None)
        assert len(payloads) == 1 or len(b"".join(payloads)) <= max_bytes
        found += [json.loads(payload)["seq"] for payload in payloads]
        if before is None:
            break
    assert found == list(range(21, 1, -1))


def test_search_goes_with_edits_and_deletions(model: Model) -> None:
    model.apply(ROOM, say("1", "first words"), say("2", "second words"), EditMessage("ana", 3, "a", 2, "other words"))
    assert (model.search("first"), model.search("other"), model.search("words")) == (
        [],
        [("a", 2)],
        [("a", 3), ("a", 2)],
    )
    model.apply(DeleteMessage("ana", 4, "a", 2), React("ana", 5, "a", 3, "+", True))
    assert (model.search("other"), model.search("words")) == ([], [("a", 3)])


def test_nothing_is_left_of_a_deleted_room_when_there_is_a_new_one(model: Model) -> None:
    model.apply(ROOM, JoinRoom("bo", 1, "a"), say("1", "secret"), EditMessage("ana", 2, "a", 3, "secret too"))
    model.apply(say("2", "secret", "bo"), DeleteRoom("ana", 3, "a"))
    assert model.reader.room("a", "ana") is None
    assert model.reader.rooms("ana", "", "", 50) == []
    model.apply(CreateRoom("bo", 4, "a", "New"), JoinRoom("ana", 5, "a"), say("1", "new words"))
    view = model.reader.room("a", "ana")
    assert view is not None
    assert (view.no, view.first, view.head) == (1, 7, 9)
    assert [(m["seq"], m["body"]) for m in model.page()] == [(9, "new words")]
    assert [json.loads(payload)["seq"] for payload in model.reader.events(1, 1, 99, 10**6)] == [7, 8, 9]
    assert (model.search("secret"), model.search("words")) == ([], [("a", 9)])
    assert model.store.find_said(1, "bo", "2") is None
    assert [row.user for row in model.reader.members(1, "", 9)] == ["ana", "bo"]


def test_deleted_and_made_again_within_one_batch(model: Model) -> None:
    model.apply(
        ROOM, say("1", "old"), DeleteRoom("ana", 2, "a"), ROOM, say("1", "new"), DeleteRoom("ana", 3, "a"), ROOM
    )
    view = model.reader.room("a", "ana")
    assert view is not None
    assert (view.first, view.head, model.page(), model.search("old"), model.search("new")) == (7, 7, [], [], [])


def test_unread_is_what_came_after_the_marker_for_members(model: Model) -> None:
    model.apply(ROOM, CreateRoom("bo", 1, "b"), Invite("bo", 1, "b", "ana"), say("1", "x"), say("2", "x"))
    listed = model.reader.rooms("ana", "", "", 50)
    assert [(row.id, row.role, row.unread) for row in listed] == [("a", "owner", 3), ("b", "invited", None)]
    model.apply(MarkRead("ana", 3, "a", 2), Ban("bo", 4, "b", "ana"))
    listed = model.reader.rooms("ana", "", "", 50)
    assert [(row.id, row.role, row.unread) for row in listed] == [("a", "owner", 1), ("b", None, None)]
    model.apply(DeleteRoom("ana", 5, "a"), CreateRoom("ana", 6, "a"))
    assert [row.unread for row in model.reader.rooms("ana", "a", "", 50)] == [1]


def test_private_rooms_are_listed_for_those_who_may_know_of_them(model: Model) -> None:
    model.apply(ROOM, CreateRoom("bo", 1, "b", private=True), CreateRoom("bo", 1, "c", private=True))
    model.apply(Invite("bo", 2, "b", "ana"), OpenDm("ana", 2, "dm.1", "bo"))

    def listed(user: str, mine: bool = False) -> list[str]:
        return [row.id for row in model.reader.rooms(user, "", "", 50, mine)]

    assert (listed("ana"), listed("ana", True)) == (["a", "b", "dm.1"], ["a", "b", "dm.1"])
    assert (listed("bo"), listed("bo", True)) == (["a", "b", "c", "dm.1"], ["b", "c", "dm.1"])
    assert (listed("cy"), listed("cy", True)) == (["a"], [])
    known = [(user, view.known, view.member) for user in ("ana", "bo", "cy") if (view := model.reader.room("b", user))]
    assert known == [("ana", True, False), ("bo", True, True), ("cy", False, False)]


def test_members_are_listed_by_name_with_role_and_mute(model: Model) -> None:
    model.apply(
        ROOM, *(JoinRoom(user, 1, "a") for user in ("zoe", "bo", "cy", "di")), SetRole("ana", 1, "a", "zoe", "owner")
    )
    model.apply(Mute("ana", 2, "a", "bo", 50), Ban("ana", 2, "a", "cy"), Invite("ana", 2, "a", "eve"))
    found = [(row.user, row.role, row.muted_until) for row in model.reader.members(1, "", 9)]
    assert found == [("ana", "owner", 0), ("bo", "member", 50), ("di", "member", 0), ("zoe", "owner", 0)]
    assert [row.user for row in model.reader.members(1, "bo", 1)] == ["di"]


def test_accounts_are_read_back(model: Model) -> None:
    assert model.reader.accounts("", 9) == []
    model.apply(
        PutAccount("root", 1, "bo", "hash", ["admin"], new=True, admin=True),
        PutAccount("root", 1, "ana", "hash", new=True, admin=True),
        PutAccount("root", 1, "ana", disabled=True, admin=True),
    )
    ana = Account("ana", "hash", disabled=True)
    assert model.reader.accounts("ana", 1) == [Account("bo", "hash", ["admin"])]
    assert model.reader.accounts("", 9) == [ana, Account("bo", "hash", ["admin"])]
