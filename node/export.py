"""The log as a file, written while messages flow; ``restore.py`` reads it.

The file is JSON lines. The first is the manifest, then comes one line for each entry, in order, and the last line
*seals* the file: it has the SHA-256 of every byte before it. So a file that was cut short has no seal, and one that was
changed has a wrong one. An entry stands there as it is, byte for byte; bytes that are no line of JSON are in Base64.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec
import trio
from msgspec import Struct

from node import __version__
from node.files import put_in_place
from node.log.base import Entry, Source

FORMAT = 1

Progress = Callable[[int, int], None]
"""Told how many entries are done, and of how many."""


class Manifest(Struct):
    """The first line.

    Attributes:
        chat_export: version of the format.
        node_version: of the program that wrote it.
        epoch: of the log.
        first, last: positions of the first and the last entry; the log ended there when the export began.
        count: how many entries.
        created_at: RFC 3339, when the export began.
    """

    chat_export: int
    node_version: str
    epoch: str
    first: int
    last: int
    count: int
    created_at: str


class Piece(NamedTuple):
    """Some bytes of an export, how many entries are out with it, and of how many."""

    data: bytes
    done: int
    total: int


_NOTHING = msgspec.Raw()


class Line(Struct, omit_defaults=True):
    """The line of one entry: as it is, or in Base64."""

    position: int
    entry: msgspec.Raw = _NOTHING
    base64: bytes | None = None


class Seal(Struct):
    """The last line: the checksum of all bytes before it, in hexadecimal."""

    sha256: str


_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


async def export(source: Source) -> AsyncGenerator[Piece]:
    """The log as it is when this is called, piece by piece, each of at most a few MiB.

    To be used under ``contextlib.aclosing``. Costs the node that does it one read of the log; nothing waits for it.

    Raises:
        LogUnavailable, LogChanged: the log cannot be read (any more).
    """
    last = await source.last()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(FORMAT, __version__, source.epoch, min(1, last), last, last, now)
    checksum = sha256()

    def sealed(lines: Sequence[bytes]) -> bytes:
        data = b"".join(line + b"\n" for line in lines)
        checksum.update(data)
        return data

    yield Piece(sealed([_encode(manifest)]), 0, last)
    if last:
        async with aclosing(source.tail(0)) as tail:
            async for batch in tail:
                entries = [entry for entry in batch if entry.position <= last]
                data = await trio.to_thread.run_sync(lambda: sealed([_line(entry) for entry in entries]))  # noqa: B023
                yield Piece(data, entries[-1].position, last)
                if batch[-1].position >= last:
                    break
    yield Piece(_encode(Seal(checksum.hexdigest())) + b"\n", last, last)


def _line(entry: Entry) -> bytes:
    if _is_json_line(entry.data):
        return _encode(Line(entry.position, entry=msgspec.Raw(entry.data)))
    return _encode(Line(entry.position, base64=entry.data))


def _is_json_line(data: bytes) -> bool:
    """Whether bytes can stand in a line of JSON, and be found there again as they were."""
    if not data.startswith(b"{") or not data.endswith(b"}") or b"\n" in data:
        return False
    try:
        data.decode()
        _decode_any(data)
    except (ValueError, RecursionError):
        return False
    return True


async def save(source: Source, path: Path, progress: Progress) -> None:
    """Export to a file, compressed if its name ends in ``.gz``. It has its name when it is whole and on the disk.

    Raises:
        OSError: the file cannot be written.
        LogUnavailable, LogChanged: as of :func:`export`.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    made = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as raw, _compressing(raw, path) as file:
            async with aclosing(export(source)) as pieces:
                async for piece in pieces:
                    await trio.to_thread.run_sync(file.write, piece.data)
                    progress(piece.done, piece.total)
        await trio.to_thread.run_sync(put_in_place, made, path)
    except BaseException:
        made.unlink(missing_ok=True)  # noqa: ASYNC240 - at the very end
        raise


@contextmanager
def _compressing(raw: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as file:
        yield cast(BinaryIO, file)
