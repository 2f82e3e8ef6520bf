"""Files that only one process may have, and files that are whole or not there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Held(OSError):
    """Another process has the lock; says which."""


def lock(path: Path) -> int:
    """Lock ``path`` for the life of the returned descriptor; the kernel lets go of it however the process ends.

    Raises:
        Held: another process has it.
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Held(f"{path} is held by another process (pid {holder})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def put_in_place(made: Path, path: Path) -> None:
    """Give a finished file its name, for good: after a power cut ``path`` is the old one or the whole new one."""
    _sync(made)
    made.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
