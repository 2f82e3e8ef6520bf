"""The protocol's rooms once more, as docs/protocol.md tells them, for the rules to be compared with.

Written from that page, as plainly as can be: every method is a request, and returns the code of its refusal or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RANKS = {"owner": 3, "moderator": 2, "member": 1}
ADMIN = "root"
"""The one user who is a server admin."""


@dataclass
class Said:
    """A message as it stands."""

    author: str
    body: str
    reply_to: int | None
    thread: int | None
    deleted: bool = False
    replies: int = 0
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class ModelRoom:
    """A room. ``head`` outlives it: a later one of the same id counts on."""

    exists: bool = False
    head: int = 0
    title: str = ""
    private: bool = False
    roles: dict[str, str] = field(default_factory=dict)
    invited: set[str] = field(default_factory=set)
    banned: set[str] = field(default_factory=set)
    muted: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    said: dict[int, Said] = field(default_factory=dict)
    cids: dict[tuple[str, str], tuple[str, int | None]] = field(default_factory=dict)
    deleted_by: str = ""

    def rank(self, user: str) -> int:
        return RANKS.get(self.roles.get(user, ""), 0)

    def power(self, user: str) -> int:
        return 4 if user == ADMIN else self.rank(user)

    def known_to(self, user: str) -> bool:
        return self.exists and (not self.private or user in self.roles or user in self.invited or user == ADMIN)

    def answer_to_unknown(self, user: str, op: str) -> str | None:
        """What is told to who does not know of the room: nothing, but that a repeat is done."""
        return None if op == "leave" or (op == "delete_room" and user == self.deleted_by) else "no_room"

    # --- the room ---

    def create_room(self, user: str, now: int, title: str, private: bool) -> str | None:
        if self.exists:
            repeated = self.roles.get(user) == "owner" and (self.title, self.private) == (title, private)
            return None if repeated else "room_exists"
        self.__init__(True, self.head + 1, title, private, {user: "owner"})  # type: ignore[misc]
        return None

    def update_room(self, user: str, now: int, title: str | None, private: bool | None) -> str | None:
        if self.power(user) < (2 if private is None else 3):
            return "forbidden"
        wanted = (self.title if title is None else title, self.private if private is None else private)
        self.head += wanted != (self.title, self.private)
        self.title, self.private = wanted
        return None

    def delete_room(self, user: str, now: int) -> str | None:
        if self.power(user) < 3:
            return "forbidden"
        self.__init__(False, self.head + 1, deleted_by=user)  # type: ignore[misc]
        return None

    # --- people ---

    def join(self, user: str, now: int) -> str | None:
        if user in self.roles:
            return None
        if user in self.banned or (self.private and user not in self.invited and user != ADMIN):
            return "forbidden"
        self.invited.discard(user)
        self.roles[user] = "member"
        self.head += 1
        return None

    def leave(self, user: str, now: int) -> str | None:
        if user in self.roles:
            self._part(user)
        return None

    def _part(self, user: str) -> None:
        was_owner = self.roles.pop(user) == "owner"
        self.read.pop(user, None)
        self.head += 1
        if was_owner and self.roles and "owner" not in self.roles.values():
            heir = min(self.roles, key=lambda name: (-self.rank(name), name))
            self.roles[heir] = "owner"
            self.head += 1

    def invite(self, user: str, now: int, peer: str) -> str | None:
        if self.power(user) < (2 if self.private else 1) or peer in self.banned:
            return "forbidden"
        if peer not in self.roles and peer not in self.invited:
            self.invited.add(peer)
            self.head += 1
        return None

    def role(self, user: str, now: int, peer: str, role: str) -> str | None:
        if user == peer and self.roles.get(user) == role:
            return None
        if self.power(user) < 3 or peer not in self.roles:
            return "forbidden"
        if self.roles[peer] == role:
            return None
        if [name for name, role in self.roles.items() if role == "owner"] == [peer]:
            return "forbidden"
        self.roles[peer] = role
        self.head += 1
        return None

    def above(self, user: str, peer: str) -> bool:
        return self.power(user) >= 2 and self.power(user) > self.rank(peer)

    def kick(self, user: str, now: int, peer: str) -> str | None:
        if not self.above(user, peer):
            return "forbidden"
        return self.leave(peer, now)

    def ban(self, user: str, now: int, peer: str) -> str | None:
        if not self.above(user, peer):
            return "forbidden"
        if peer in self.roles:
            self._part(peer)
        elif peer not in self.banned:
            self.head += 1
        self.banned.add(peer)
        self.invited.discard(peer)
        self.muted.pop(peer, None)
        return None

    def unban(self, user: str, now: int, peer: str) -> str | None:
        if self.power(user) < 2:
            return "forbidden"
        self.head += peer in self.banned
        self.banned.discard(peer)
        return None

    def mute(self, user: str, now: int, peer: str, until: int) -> str | None:
        if not self.above(user, peer) or peer not in self.roles:
            return "forbidden"
        until = until if until > now else 0
        self.head += until != self.muted.get(peer, 0)
        self.muted[peer] = until
        return None

    # --- what is said ---

    def may_speak(self, user: str, now: int) -> bool:
        return user in self.roles and now >= self.muted.get(user, 0)

    def send(self, user: str, now: int, cid: str, body: str, reply_to: int | None) -> str | None:
        if user not in self.roles:
            return "forbidden"
        if (user, cid) in self.cids:
            return None if self.cids[user, cid] == (body, reply_to) else "cid_conflict"
        if not self.may_speak(user, now):
            return "forbidden"
        thread = None
        if reply_to is not None:
            if (parent := self.message(reply_to)) is None:
                return "no_message"
            thread = reply_to if parent.thread is None else parent.thread
            self.said[thread].replies += 1
        self.head += 1
        self.said[self.head] = Said(user, body, reply_to, thread)
        self.cids[user, cid] = (body, reply_to)
        return None

    def message(self, seq: int) -> Said | None:
        found = self.said.get(seq)
        return None if found is None or found.deleted else found

    def edit(self, user: str, now: int, seq: int, body: str) -> str | None:
        if user not in self.roles:
            return "forbidden"
        if (message := self.message(seq)) is None:
            return "no_message"
        if message.author != user or not self.may_speak(user, now):
            return "forbidden"
        self.head += body != message.body
        message.body = body
        return None

    def delete(self, user: str, now: int, seq: int) -> str | None:
        if (message := self.said.get(seq)) is None:
            return "no_message"
        if not (message.author == user and user in self.roles) and self.power(user) < 2:
            return "forbidden"
        if message.deleted:
            return None
        message.body, message.deleted, message.reactions = "", True, {}
        self.head += 1
        return None

    def react(self, user: str, now: int, seq: int, emoji: str, on: bool) -> str | None:
        if user not in self.roles:
            return "forbidden"
        if (message := self.message(seq)) is None:
            return "no_message"
        if not self.may_speak(user, now):
            return "forbidden"
        users = message.reactions.setdefault(emoji, [])
        if (user in users) != on:
            (users.append if on else users.remove)(user)
            self.head += 1
        if not users:
            del message.reactions[emoji]
        return None

    def read_up_to(self, user: str, now: int, seq: int) -> str | None:
        if user not in self.roles:
            return "forbidden"
        self.read[user] = max(self.read.get(user, 0), min(seq, self.head))
        return None
