"""Logs as hypothesis draws them: what users wish, packed into entries by several producers, some of them twice."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from node.state import records
from node.state.records import AnyRecord, Record, encode_batch, encode_record

USERS = st.sampled_from(["ana", "bo", "cy"])
ROOMS = st.sampled_from(["a", "b"])
TIMES = st.integers(0, 1000)
SEQS = st.integers(1, 12)
BODIES = st.sampled_from(["x", "y", "x @bo", "Ünï @ana"])

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "user": USERS,
    "ts": TIMES,
    "admin": st.sampled_from([False, False, False, True]),
    "room": ROOMS,
    "title": st.sampled_from(["", "Title"]),
    "private": st.booleans(),
    "peer": USERS,
    "role": st.sampled_from(["owner", "moderator", "member"]),
    "until": TIMES,
    "cid": st.sampled_from("cdef"),
    "body": BODIES,
    "reply_to": st.none() | SEQS,
    "seq": SEQS,
    "emoji": st.sampled_from("+-"),
    "on": st.booleans(),
    "level": st.just("info"),
    "text": BODIES,
    "name": USERS,
    "password_hash": st.sampled_from([None, "hash"]),
    "roles": st.sampled_from([None, [], ["admin"]]),
    "disabled": st.sampled_from([None, True, False]),
    "new": st.booleans(),
}
"""What a field of a record may hold: few values, so that records meet."""

OFTEN: list[type[Record]] = [records.JoinRoom, records.SendMessage, records.SendMessage, records.SendMessage]


def record_of(kind: type[Record]) -> st.SearchStrategy[Any]:
    """Records of one kind."""
    return st.builds(kind, **{name: FIELDS[name] for name in kind.__struct_fields__})


RECORDS: st.SearchStrategy[AnyRecord] = st.one_of([record_of(kind) for kind in (*get_args(AnyRecord), *OFTEN)])
BEGINNING: list[AnyRecord] = [
    records.CreateRoom("ana", 0, "a"),
    records.JoinRoom("bo", 0, "a"),
    records.CreateRoom("bo", 0, "b", private=True),
    records.Invite("bo", 0, "b", "cy"),
]


def entry(*records: AnyRecord, producer: str = "p", n: int = 1) -> bytes:
    """One log entry."""
    return encode_batch(producer, n, [encode_record(record) for record in records])


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """(position, data) of a whole log: each producer's batches in order, now and then one a second time, or garbage."""
    counts = {"p": 0, "q": 0}
    entries: list[bytes] = [entry(*BEGINNING, producer="first")] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 15))):
        kind = draw(st.sampled_from(["new", "new", "new", "again", "garbage"]))
        if kind == "again" and entries:
            entries.append(draw(st.sampled_from(entries)))
        elif kind == "garbage":
            entries.append(draw(st.sampled_from([b"", b"{}", b'{"v":1}', b"\xff", b'{"v":1,"producer":1}'])))
        else:
            producer = draw(st.sampled_from(["p", "q"]))
            counts[producer] += 1
            entries.append(
                entry(*draw(st.lists(RECORDS, min_size=1, max_size=8)), producer=producer, n=counts[producer])
            )
    return list(enumerate(entries, start=1))
