"""Where the benchmark keeps things."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
MAKE = _ROOT / ".make"
DOCS = _ROOT / "docs" / "bench"


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the project's own disk, because a synced commit costs what that disk takes."""
    MAKE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MAKE, prefix="bench-", ignore_cleanup_errors=True) as path:
        yield Path(path)
