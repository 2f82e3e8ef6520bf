"""An export, checked to the last byte, and put into an empty log."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec
import trio

from node.errors import ChatError
from node.export import FORMAT, Line, Manifest, Progress, Seal
from node.log.base import MAX_ENTRY_BYTES, TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry, Loader
from node.state.reader import Reader
from node.state.records import UnknownVersion
from node.state.store import Store

_MAX_LINE_BYTES = 2 * MAX_ENTRY_BYTES
_GZIP_MAGIC = b"\x1f\x8b"

T = TypeVar("T")


class ExportError(ChatError):
    """A file that is no whole export, or one that this program cannot read. Nothing was imported from it."""


class Report(Manifest):
    """What is in an export.

    Attributes:
        sha256: of every byte before the seal.
        rooms, messages, users, accounts: how many there are at its end.
        skipped: entries without effect: repeats, and bytes that no release wrote.
        digest: of the state at its end: that of every node when ``last`` was its last entry.
    """

    sha256: str
    rooms: int
    messages: int
    users: int
    accounts: int
    skipped: int
    digest: str


class ExportFile:
    """An export that is read, and checked on the way. Close it.

    Args:
        path: the file, compressed with gzip or not.

    Raises:
        ExportError: it has no manifest, or one of a newer format.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = path.open("rb")
        packed = self._raw.peek(2).startswith(_GZIP_MAGIC)
        self._file = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self._checksum = sha256()
        self._line_no = 0
        self.sha256 = ""
        """Known when :meth:`batches` has ended."""
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self.close()
            raise

    def batches(self) -> Iterator[list[Entry]]:
        """All entries in order. When it ends, the file was whole and unchanged.

        Raises:
            ExportError: it is not; what was yielded before is not to be used.
        """
        batch: list[Entry] = []
        size = 0
        for position in range(1, self.manifest.count + 1):
            entry = self._read_entry(position)
            if batch and (len(batch) == TAIL_BATCH_ENTRIES or size + len(entry.data) > TAIL_BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += len(entry.data)
        self._read_seal()
        if batch:
            yield batch

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _read_manifest(self) -> Manifest:
        line = self._read_line()
        self._checksum.update(line)
        head = self._decoded(_decode_format, line, "no manifest, so this is no export")
        if head.chat_export > FORMAT:
            raise self._error(f"format {head.chat_export}, this program reads up to {FORMAT}: use a newer release")
        manifest = self._decoded(_decode_manifest, line, "a manifest that cannot be read")
        if (manifest.first, manifest.count) != (min(1, manifest.last), manifest.last):
            raise self._error("a manifest that contradicts itself")
        return manifest

    def _read_entry(self, position: int) -> Entry:
        text = self._read_line()
        self._checksum.update(text)
        line = self._decoded(_decode_line, text, f"no entry where entry {position} comes next")
        if line.position != position:
            raise self._error(f"entry {line.position} where entry {position} comes next: lines are missing or moved")
        data = bytes(line.entry)
        if bool(data) == (line.base64 is not None):
            raise self._error("no entry, or two")
        return Entry(position, data if line.base64 is None else line.base64)

    def _read_seal(self) -> None:
        seal = self._decoded(_decode_seal, self._read_line(), "no seal after the last entry")
        if seal.sha256 != self._checksum.hexdigest():
            raise self._error("a checksum that is not that of the lines before: something was changed")
        if self._guarded(lambda: self._file.read(1)):
            raise self._error("more after the seal")
        self.sha256 = seal.sha256

    def _read_line(self) -> bytes:
        self._line_no += 1
        line = self._guarded(lambda: self._file.readline(_MAX_LINE_BYTES))
        if not line.endswith(b"\n"):
            raise self._error(
                "no end: the file was cut short" if len(line) < _MAX_LINE_BYTES else "too much for a line"
            )
        return line

    def _decoded(self, decode: Callable[[bytes], T], line: bytes, fault: str) -> T:
        try:
            return decode(line)
        except (ValueError, RecursionError):
            raise self._error(fault) from None

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._error(f"damaged compression ({error})") from None

    def _error(self, fault: str) -> ExportError:
        return ExportError(f"{self._path}: line {self._line_no}: {fault}")


class _Format(msgspec.Struct):
    chat_export: int


_decode_format = msgspec.json.Decoder(_Format).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_seal = msgspec.json.Decoder(Seal).decode


def verify(path: Path, scratch: Path | None, progress: Progress) -> Report:
    """Check an export to the last byte, and apply it to see what state it leads to. Blocks.

    Args:
        path: the export.
        scratch: a directory with room for that state; None: where temporary files go.
        progress: called after every batch.

    Raises:
        ExportError: it is not whole, or has records of a newer release.
        OSError: it cannot be read.
    """
    with closing(ExportFile(path)) as file, tempfile.TemporaryDirectory(dir=scratch, prefix="verify-") as directory:
        store_path, count, effective = Path(directory) / "store.sqlite", file.manifest.count, 0
        with closing(Store(store_path, file.manifest.epoch)) as store:
            for batch in file.batches():
                try:
                    effective += len(store.apply(batch).batches)
                    store.write()
                except UnknownVersion as error:
                    raise ExportError(f"{path}: {error}") from None
                progress(batch[-1].position, count)
            digest = store.state.digest.hex()
        with closing(Reader(store_path)) as reader:
            counts = reader.counts()
    return Report(
        **msgspec.structs.asdict(file.manifest),
        sha256=file.sha256,
        skipped=count - effective,
        digest=digest,
        **counts._asdict(),
    )


async def restore(path: Path, loader: Loader, scratch: Path | None, progress: Progress) -> tuple[Report, str]:
    """Put an export into an empty log, after all of it was verified. All of it or, for the nodes, nothing.

    Args:
        path, scratch, progress: as for :func:`verify`; progress counts every entry twice.
        loader: of the log; it is not closed.

    Returns:
        What was imported, and the new epoch of the log.

    Raises:
        ExportError, OSError: as for :func:`verify`; the log was not touched.
        LogNotEmpty: the log has entries, and keeps them.
        LogError: the log cannot be filled; the import can be repeated.
    """
    report = await trio.to_thread.run_sync(verify, path, scratch, lambda done, count: progress(done, 2 * count))
    await loader.begin()
    file = await trio.to_thread.run_sync(ExportFile, path)
    with closing(file):
        batches = file.batches()
        while batch := await trio.to_thread.run_sync(next, batches, None):
            await loader.load([entry.data for entry in batch])
            progress(report.count + batch[-1].position, 2 * report.count)
    if file.sha256 != report.sha256:
        raise ExportError(f"{path}: was changed while it was imported; repeat the import")
    return report, await loader.finish()
