"""A chat cluster of a few lines that does everything right, in an order drawn at random, and writes its history.

Nodes lag behind one log, connections break, requests go on without their client, people are kicked and come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from msgspec.structs import replace

from tests.faults.history import (
    Edit,
    Ended,
    Entry,
    Event,
    Final,
    Join,
    Moderate,
    Outcome,
    Page,
    Plan,
    Push,
    Said,
    Send,
    State,
)

NODES, ROOMS, EPOCH = ["n1", "n2", "n3"], ["a", "b"], "e"
OWNER = "owner"
_TICK_S = 0.0005


@dataclass
class Request:
    """A message that was sent. ``settled``: (seq, whether it was a repeat) or None for a refusal, once it is known."""

    user: str
    room: str
    cid: str
    body: str
    order: int
    begin: float = 0.0
    committed: bool = False
    settled: tuple[int, bool] | None = None


@dataclass
class Client:
    name: str
    user: str
    conn: int = 0
    node: str = ""
    subs: dict[str, Join] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    unanswered: list[Request] = field(default_factory=list)
    line: list[Request] = field(default_factory=list)
    own: list[tuple[str, int]] = field(default_factory=list)
    sent: int = 0


class Model:
    """See :meth:`run`."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._now = 100.0
        self._log: dict[str, list[Event]] = {room: [] for room in ROOMS}
        self._applied = {(node, room): 0 for node in NODES for room in ROOMS}
        self._members: dict[str, set[str]] = {room: set() for room in ROOMS}
        self._banned: dict[str, set[str]] = {room: set() for room in ROOMS}
        self._cids: dict[tuple[str, str, str], int] = {}
        self._orphans: list[list[Request]] = []
        self._subs = 0
        self._clients = [Client(f"{user}{i}", user) for user, i in [(OWNER, 1), ("ana", 1), ("bo", 1), ("bo", 2)]]
        self.history: list[Entry] = [Plan(NODES, ROOMS, 0)]

    def run(self, steps: int) -> list[Entry]:
        """Do so many random steps, let everything come to rest, and read the ends."""
        for room in ROOMS:
            self._append(room, "room", change="created", by=OWNER)
            self._members[room].add(OWNER)
        actions: list[Callable[[Client], None]] = [self._send, self._send, self._commit, self._commit, self._answer]
        actions += [self._push] * 6 + [self._apply, self._page, self._edit, self._join, self._drop, self._moderate]
        for _ in range(steps):
            client = self._random.choice(self._clients)
            if not client.node:
                self._connect(client)
            self._random.choice(actions)(client)
        self._settle()
        return self.history

    # --- the cluster ---

    def _tick(self) -> float:
        self._now += self._random.random() * _TICK_S
        return self._now

    def _append(self, room: str, op: str, **fields: Any) -> int:
        seq = len(self._log[room]) + 1
        self._log[room].append(Event(op, seq, int(self._now * 1000), **fields))
        return seq

    def _commit_one(self, request: Request) -> None:
        request.committed = True
        key = (request.user, request.room, request.cid)
        if request.user not in self._members[request.room]:
            request.settled = None
        elif key in self._cids:
            request.settled = (self._cids[key], True)
        else:
            seq = self._append(request.room, "msg", author=request.user, cid=request.cid, body=request.body)
            self._cids[key] = seq
            request.settled = (seq, False)

    def _catch_up(self, node: str, room: str) -> int:
        self._applied[node, room] = len(self._log[room])
        return self._applied[node, room]

    def _belongs(self, room: str, user: str, head: int) -> bool:
        inside = user == OWNER
        for event in self._log[room][:head]:
            if event.user == user and event.change != "unban":
                inside = event.change == "join"
        return inside

    def _parted(self, room: str, user: str, head: int) -> int:
        later = self._log[room][head:]
        partings = [e.seq for e in later if e.user == user and e.change in ("kick", "ban", "leave")]
        return min(partings, default=10**9)

    # --- the steps ---

    def _call(self, client: Client, room: str, begin: float, outcome: Outcome = "ok", **more: Any) -> dict[str, Any]:
        who = {"client": client.name, "user": client.user, "conn": client.conn, "node": client.node, "room": room}
        code = "forbidden" if outcome == "rejected" else ""
        return {**who, "begin": begin, "end": self._tick(), "outcome": outcome, "epoch": EPOCH, "code": code, **more}

    def _connect(self, client: Client) -> None:
        client.conn += 1
        client.node = self._random.choice(NODES)
        for room in ROOMS:
            self._enter(client, room, resume=room in client.reached and self._random.random() < 0.8)
        for request in client.unanswered:
            self._transmit(client, replace_request(request))

    def _enter(self, client: Client, room: str, *, resume: bool) -> None:
        self._subs += 1
        begin = self._tick()
        since = client.reached[room] if resume else None
        fields: dict[str, Any] = {"sub": self._subs, "limit": 0 if resume else self._random.choice([0, 3])}
        if resume:
            fields |= {"since": since, "since_epoch": EPOCH}
        if client.user in self._banned[room] or (resume and client.user not in self._members[room]):
            client.reached.pop(room, None)
            self.history.append(Join(**self._call(client, room, begin, "rejected"), **fields))
            return
        if client.user not in self._members[room]:
            self._members[room].add(client.user)
            self._append(room, "member", user=client.user, change="join")
        head = self._catch_up(client.node, room)
        fields |= {"first": 1, "head": head, "recovered": True if resume else None}
        join = Join(**self._call(client, room, begin), **fields)
        client.reached[room] = since if since is not None else max(0, head - join.limit)
        client.subs[room] = join
        self.history.append(join)

    def _join(self, client: Client) -> None:
        room = self._random.choice(ROOMS)
        if client.user not in self._members[room]:
            self._enter(client, room, resume=False)

    def _send(self, client: Client) -> None:
        room = self._random.choice(ROOMS)
        cid = f"c-{client.sent}" if client.name != "bo2" else f"d-{client.sent}"
        body = f"{client.name} says {client.sent}"
        client.sent += 1
        request = Request(client.user, room, cid, body, client.sent)
        self._transmit(client, request)

    def _transmit(self, client: Client, request: Request) -> None:
        request.begin = self._tick()
        client.unanswered = [one for one in client.unanswered if one.cid != request.cid] + [request]
        client.line.append(request)

    def _commit(self, client: Client) -> None:
        lines = [client.line, *self._orphans]
        waiting = [request for request in self._random.choice(lines) if not request.committed]
        if waiting:
            self._commit_one(waiting[0])

    def _answer(self, client: Client) -> None:
        if client.line and client.line[0].committed:
            request = client.line.pop(0)
            client.unanswered.remove(request)
            call = self._call(client, request.room, request.begin, "ok" if request.settled else "rejected")
            seq, dup = request.settled or (0, False)
            if request.settled:
                self._applied[client.node, request.room] = max(seq, self._applied[client.node, request.room])
                client.own.append((request.room, seq))
            self.history.append(Send(**call, seq=seq, dup=dup, cid=request.cid, body=request.body, order=request.order))

    def _apply(self, client: Client) -> None:
        node, room = self._random.choice(NODES), self._random.choice(ROOMS)
        self._applied[node, room] = min(self._applied[node, room] + 1, len(self._log[room]))

    def _push(self, client: Client) -> None:
        for room, join in client.subs.items():
            seq = client.reached.get(room, 10**9) + 1
            shown = self._applied[client.node, room]
            if seq <= shown and seq < self._parted(room, client.user, join.head or 0):
                client.reached[room] = seq
                self.history.append(Push(join.sub, self._tick(), self._log[room][seq - 1]))

    def _standing(self, room: str, head: int) -> list[Said]:
        messages = {event.seq: event.said for event in self._log[room][:head] if event.op == "msg"}
        for event in self._log[room][:head]:
            if event.op == "edit":
                messages[event.target] = replace(messages[event.target], body=event.body)
        return list(messages.values())

    def _page(self, client: Client) -> None:
        room, begin = self._random.choice(ROOMS), self._tick()
        head, limit = self._applied[client.node, room], self._random.randint(1, 4)
        before = self._random.choice([None, self._random.randint(1, 20)])
        if self._belongs(room, client.user, head):
            above = [said for said in self._standing(room, head) if before is None or said.seq < before]
            page: dict[str, Any] = {
                "limit": limit,
                "before": before,
                "first": 1,
                "head": head,
                "messages": above[-limit:],
            }
            self.history.append(Page(**self._call(client, room, begin), **page))

    def _edit(self, client: Client) -> None:
        if not client.own:
            return
        (room, target), begin = self._random.choice(client.own), self._tick()
        standing = next(said.body for said in self._standing(room, len(self._log[room])) if said.seq == target)
        body = self._random.choice([standing, f"edited {begin}", f"edited {begin}"])
        if client.user in self._members[room]:
            seq = len(self._log[room])
            if body != standing:
                seq = self._append(room, "edit", author=client.user, body=body, target=target)
            self._applied[client.node, room] = max(seq, self._applied[client.node, room])
            self.history.append(Edit(**self._call(client, room, begin, seq=seq), target=target, body=body))
        else:
            self.history.append(Edit(**self._call(client, room, begin, "rejected"), target=target, body=body))

    def _moderate(self, client: Client) -> None:
        room, begin = self._random.choice(ROOMS), self._tick()
        peer = client.user if client.user != OWNER else self._random.choice(["ana", "bo"])
        change = "leave" if client.user != OWNER else self._random.choice(["kick", "ban", "unban"])
        if self._random.random() < 0.6:
            return
        out, banned = peer not in self._members[room], peer in self._banned[room]
        seq = len(self._log[room])
        if not {"kick": out, "leave": out, "ban": banned, "unban": not banned}[change]:
            self._members[room].discard(peer)
            (self._banned[room].add if change == "ban" else self._banned[room].discard)(peer)
            seq = self._append(room, "member", user=peer, change=change)
        self._applied[client.node, room] = max(seq, self._applied[client.node, room])
        self.history.append(Moderate(**self._call(client, room, begin, seq=seq), change=change, peer=peer))

    def _drop(self, client: Client) -> None:
        """The connection breaks; what was under way on it may or may not come about."""
        if self._random.random() < 0.5:
            self._orphans.append(client.line)
        for request in client.line:
            fields: dict[str, Any] = {"cid": request.cid, "body": request.body, "order": request.order}
            self.history.append(Send(**self._call(client, request.room, request.begin, "unknown"), **fields))
        self.history.append(Ended(client.name, client.conn, self._tick(), 1006))
        client.line, client.subs, client.node = [], {}, ""

    # --- the end ---

    def _settle(self) -> None:
        for client in self._clients:
            if not client.node:
                self._connect(client)
            for request in client.line:
                if not request.committed:
                    self._commit_one(request)
            while client.line:
                self._answer(client)
        for node in NODES:
            for room in ROOMS:
                self._catch_up(node, room)
        for client in self._clients:
            for _ in range(max(map(len, self._log.values()))):
                self._push(client)
        for node in NODES:
            for room, events in self._log.items():
                ends: dict[str, Any] = {"begin": self._tick(), "end": self._tick(), "head": len(events)}
                backward = self._standing(room, len(events))
                self.history.append(Final(node, room, EPOCH, **ends, backward=backward, forward=list(events)))
            self.history.append(State(node, self._tick(), EPOCH, {1: "d"}))


def replace_request(request: Request) -> Request:
    """The same message, to be sent once more."""
    return Request(request.user, request.room, request.cid, request.body, request.order)
