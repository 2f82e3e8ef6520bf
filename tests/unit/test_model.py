"""Sessions, log entries and rules against a model of the rooms: whatever is asked in whatever order, they agree."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.auth import Identity
from node.protocol.session import Session
from node.state.model import BANNED, INVITED, RANKS, State
from node.state.outcome import Accepted, Rejected
from node.state.records import encode_batch, encode_record
from node.state.rules import apply_entry

from .fakes import NoDisk
from .local_node import SETTINGS
from .model import ADMIN, ModelRoom

USERS = st.sampled_from(["ana", "bo", "cy", "ana", "bo", ADMIN])
PEERS = st.sampled_from(["ana", "bo", "cy"])
ROOMS = st.sampled_from(["a", "a", "b"])
SEQS = st.integers(0, 15)
BODIES = st.sampled_from(["x", "y", "é @bo"])
METHODS = {"read": "read_up_to"}


class Rooms(RuleBasedStateMachine):
    """Each rule is a request: said to a session, written to the log, applied, and done to the model as well."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(NoDisk())
        self.rooms = {name: ModelRoom() for name in ("a", "b")}
        self.now = self.batch = 0
        self.entries: list[bytes] = []
        self.seqs: dict[tuple[str, str, str], int] = {}

    def ask(self, user: str, room: str, op: str, /, **fields: Any) -> None:
        self.now += 1
        outcome = self._apply(user, {"id": 1, "op": op, "room": room, **fields})
        model = self.rooms[room]
        head = model.head
        if op != "create_room" and not model.known_to(user):
            wanted = model.answer_to_unknown(user, op)
        else:
            wanted = getattr(model, METHODS.get(op, op))(user, self.now, *fields.values())
        assert (outcome.code.value if isinstance(outcome, Rejected) else None) == wanted
        if isinstance(outcome, Accepted) and op != "read":
            assert outcome.dup == (model.head == head)
            if op == "send":
                assert outcome.seq == self.seqs.setdefault((room, user, fields["cid"]), model.head)
            elif op == "delete_room":
                self.seqs = {key: seq for key, seq in self.seqs.items() if key[0] != room}

    def _apply(self, user: str, request: dict[str, Any]) -> Any:
        session = Session(SETTINGS, 0.0)
        session.let_in(Identity(user, frozenset({"admin"} if user == ADMIN else ())))
        given = {name: value for name, value in request.items() if value is not None}
        record = session.handle(json.dumps(given), 0.0, lambda: self.now / 1000).record
        assert record is not None
        self.batch += 1
        self.entries.append(encode_batch("p", self.batch, [encode_record(record)]))
        applied = apply_entry(self.state, len(self.entries), self.entries[-1])
        assert applied is not None
        return applied.outcomes[0]

    @initialize(private=st.booleans())
    def begin(self, private: bool) -> None:
        """A room with people in it, so that most requests find one."""
        self.ask("ana", "a", "create_room", title="", private=private)
        for user in ("bo", "cy"):
            self.ask("ana", "a", "invite", user=user)
            self.ask(user, "a", "join")
        for cid in "cde":
            self.ask("bo", "a", "send", cid=cid, body="x", reply_to=None)

    @rule(back=st.integers(1, 5))
    def entry_again(self, back: int) -> None:
        """An entry that landed before lands once more, and does nothing."""
        if self.entries:
            self.entries.append(self.entries[-min(back, len(self.entries))])
            assert apply_entry(self.state, len(self.entries), self.entries[-1]) is None

    @rule(user=USERS, room=ROOMS, title=st.sampled_from(["", "T"]), private=st.booleans())
    def create(self, user: str, room: str, title: str, private: bool) -> None:
        self.ask(user, room, "create_room", title=title, private=private)

    @rule(user=USERS, room=ROOMS, title=st.sampled_from([None, "T", "U"]), private=st.sampled_from([None, True, False]))
    def update(self, user: str, room: str, title: str | None, private: bool | None) -> None:
        self.ask(user, room, "update_room", title=title, private=private)

    @rule(user=USERS, room=ROOMS, sure=st.integers(0, 7))
    def delete_room(self, user: str, room: str, sure: int) -> None:
        if not sure:
            self.ask(user, room, "delete_room")

    @rule(user=USERS, room=ROOMS, op=st.sampled_from(["join", "join", "join", "leave"]))
    def come_or_go(self, user: str, room: str, op: str) -> None:
        self.ask(user, room, op)

    @rule(user=USERS, room=ROOMS, peer=PEERS, op=st.sampled_from(["invite", "kick", "ban", "unban"]))
    def people(self, user: str, room: str, peer: str, op: str) -> None:
        self.ask(user, room, op, user=peer)

    @rule(user=USERS, room=ROOMS, peer=PEERS, role=st.sampled_from(list(RANKS)))
    def role(self, user: str, room: str, peer: str, role: str) -> None:
        self.ask(user, room, "role", user=peer, role=role)

    @rule(user=USERS, room=ROOMS, peer=PEERS, more=st.sampled_from([-1, 3, 1000]))
    def mute(self, user: str, room: str, peer: str, more: int) -> None:
        self.ask(user, room, "mute", user=peer, until=max(0, self.now + more))

    @rule(user=USERS, room=ROOMS, cid=st.sampled_from("cdefghij"), body=BODIES, reply_to=st.none() | SEQS)
    def send(self, user: str, room: str, cid: str, body: str, reply_to: int | None) -> None:
        self.ask(user, room, "send", cid=cid, body=body, reply_to=reply_to)

    @rule(user=USERS, room=ROOMS, seq=SEQS, body=BODIES)
    def edit(self, user: str, room: str, seq: int, body: str) -> None:
        self.ask(user, room, "edit", seq=seq, body=body)

    @rule(user=USERS, room=ROOMS, seq=SEQS)
    def delete(self, user: str, room: str, seq: int) -> None:
        self.ask(user, room, "delete", seq=seq)

    @rule(user=USERS, room=ROOMS, seq=SEQS)
    def read(self, user: str, room: str, seq: int) -> None:
        self.ask(user, room, "read", seq=seq)

    @rule(user=USERS, room=ROOMS, seq=SEQS, emoji=st.sampled_from("+-"), on=st.booleans())
    def react(self, user: str, room: str, seq: int, emoji: str, on: bool) -> None:
        self.ask(user, room, "react", seq=seq, emoji=emoji, on=on)

    @invariant()
    def rooms_are_as_in_the_model(self) -> None:
        for name, model in self.rooms.items():
            room = self.state.rooms.get(name)
            assert (room is not None and not room.deleted) == model.exists
            if room is None:
                continue
            assert room.head == model.head
            if not model.exists:
                continue
            standings = room.standings.items()
            assert (room.title, room.private, room.size) == (model.title, model.private, len(model.roles))
            assert {user: s.role for user, s in standings if s.role in RANKS} == model.roles
            assert {user for user, s in standings if s.role == INVITED} == model.invited
            assert {user for user, s in standings if s.role == BANNED} == model.banned
            muted = {user: until for user, until in model.muted.items() if until > self.now}
            assert {user: s.muted_until for user, s in standings if s.muted_until > self.now} == muted
            assert {user: s.read for user, s in standings if s.read} == {u: r for u, r in model.read.items() if r}
            self._messages_are(room.no, room.first, model)

    def _messages_are(self, room_no: int, first: int, model: ModelRoom) -> None:
        found = {
            seq: (m.from_, m.body, m.reply_to, m.thread, m.deleted, m.replies, m.reactions)
            for (no, seq), m in self.state.changes.messages.items()
            if no == room_no and seq >= first
        }
        assert found == {
            seq: (m.author, m.body, m.reply_to, m.thread, m.deleted, m.replies, m.reactions)
            for seq, m in model.said.items()
        }


TestRooms = Rooms.TestCase
TestRooms.settings = settings(max_examples=settings().max_examples // 2)
