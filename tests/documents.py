"""The commands in the documents, as the tests run them.

A fenced block names where it is run: ``sh test=lab`` (the checkout, against the lab), ``sh test=host`` (a host of
the lab), ``sh test=node`` (the checkout, against one node), ``sh test=make`` (targets that the tests as a whole are
made of), ``sh test=syntax`` (a playbook for an inventory that only the reader has). No block of commands goes without.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = ("lab", "host", "node", "make", "syntax")

_FENCE = re.compile(r"^```(\w+)(?: test=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUNNABLE = ("sh", "bash", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block of commands."""

    document: Path
    language: str
    place: str | None
    text: str

    @property
    def as_shell(self) -> str:
        """The block as a piece of a shell script."""
        return self.text if self.language == "sh" else f"python3 - <<'PROGRAM'\n{self.text}PROGRAM\n"


def blocks(document: Path) -> list[Block]:
    """All blocks of commands in a document."""
    return [
        Block(document, language, place or None, text)
        for language, place, text in _FENCE.findall(document.read_text())
        if language in _RUNNABLE
    ]


def script(document: Path, place: str) -> str:
    """All blocks of a document for one place, as one script: what one sets, the next one sees."""
    return "".join(block.as_shell for block in blocks(document) if block.place == place)


def run(document: Path, place: str, timeout_s: float, **environment: str) -> None:
    """Run a document's blocks for one place in the checkout, as they are written; fails with what they printed."""
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(document, place)],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def with_place(place: str) -> list[Path]:
    """The documents that have something to run there."""
    return [document for document in DOCUMENTS if script(document, place)]
