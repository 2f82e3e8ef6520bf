"""Logs as hypothesis draws them: what users wish, packed into entries by several producers, some of them twice."""

from __future__ import annotations

from hypothesis import strategies as st

from node.state.records import AnyRecord, CreateRoom, JoinRoom, LeaveRoom, SendMessage, encode_batch, encode_record

USERS = st.sampled_from(["ana", "bo", "cy"])
ROOMS = st.sampled_from(["a", "b"])
TIMES = st.integers(0, 1000)

RECORDS: st.SearchStrategy[AnyRecord] = st.one_of(
    st.builds(CreateRoom, USERS, TIMES, ROOMS, st.sampled_from(["", "Title"])),
    st.builds(JoinRoom, USERS, TIMES, ROOMS),
    st.builds(JoinRoom, USERS, TIMES, ROOMS),
    st.builds(LeaveRoom, USERS, TIMES, ROOMS),
    st.builds(SendMessage, USERS, TIMES, ROOMS, st.sampled_from("cdef"), st.sampled_from("xy")),
    st.builds(SendMessage, USERS, TIMES, ROOMS, st.sampled_from("cdef"), st.sampled_from("xy")),
)


def entry(*records: AnyRecord, producer: str = "p", n: int = 1) -> bytes:
    """One log entry."""
    return encode_batch(producer, n, [encode_record(record) for record in records])


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """(position, data) of a whole log: each producer's batches in order, now and then one a second time, or garbage."""
    counts = {"p": 0, "q": 0}
    entries: list[bytes] = []
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
                entry(*draw(st.lists(RECORDS, min_size=1, max_size=6)), producer=producer, n=counts[producer])
            )
    return list(enumerate(entries, start=1))
