"""What processes write and sync, and when, as strace sees it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

_TRACED = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync"
_WHOLE_PAGE = "9000"
_LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
_CALL = re.compile(r"^(\w+)\(\d+<([^>]*(?:->[^>]*)?)>(.*?)\) += (-?\d+).*<(\d+\.\d+)>$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Call:
    """A system call that succeeded. Times are of the machine's clock, in seconds; ``file`` a path, or ``TCP:[...]``."""

    name: str
    file: str
    text: str
    begin: float
    end: float

    @property
    def syncs(self) -> bool:
        return self.name in ("fsync", "fdatasync")


@asynccontextmanager
async def traced(pids: Sequence[int], directory: Path) -> AsyncIterator[list[Path]]:
    """Trace processes with all their threads while the block runs; yields the files that :func:`calls` reads."""
    files = [directory / f"{pid}.strace" for pid in pids]
    tracers = [_attached(pid, file) for pid, file in zip(pids, files, strict=True)]
    try:
        for tracer in tracers:
            assert tracer.stderr is not None
            first = await trio.to_thread.run_sync(tracer.stderr.readline)
            assert b"attached" in first, first.decode()
        yield files
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
        for tracer in tracers:
            await trio.to_thread.run_sync(tracer.communicate)


def _attached(pid: int, file: Path) -> subprocess.Popen[bytes]:
    options = ["-f", "-ttt", "-T", "-yy", "-s", _WHOLE_PAGE, "-e", _TRACED, "-o", str(file), "-p", str(pid)]
    return subprocess.Popen(["strace", *options], stderr=subprocess.PIPE)


def calls(file: Path) -> list[Call]:
    """What a process did, in the order in which it began."""
    found = []
    unfinished: dict[str, tuple[float, str]] = {}
    for line in file.read_text(errors="replace").splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        thread, at, what = matched[1], float(matched[2]), matched[3]
        if what.endswith(_UNFINISHED):
            unfinished[thread] = at, what.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(what):
            at, begun = unfinished.pop(thread, (at, ""))
            what = begun + resumed[1]
        if (call := _CALL.match(what)) and int(call[4]) >= 0:
            found.append(Call(call[1], call[2], call[3], at, at + float(call[5])))
    return sorted(found, key=lambda call: call.begin)


def synced_at(done: Sequence[Call], mark: str) -> float | None:
    """When the first file that ``mark`` was written to was on the disk; None if it never was.

    Args:
        mark: text that was in what was written.
    """
    ends = []
    for write in done:
        if mark in write.text and not write.file.startswith("TCP"):
            after = (call.end for call in done if call.syncs and call.file == write.file and call.begin >= write.end)
            with contextlib.suppress(StopIteration):
                ends.append(next(after))
    return min(ends, default=None)


def sent_at(done: Sequence[Call], mark: str) -> float | None:
    """When ``mark`` first began to leave through a connection; None if it never did."""
    return next((call.begin for call in done if mark in call.text and call.file.startswith("TCP")), None)
