"""Takes each guard of the playbooks out of a copy of this tree, and sees its test fail: one that none misses is none.

``make guards`` for all, ``make guards ONLY='lock|node'`` for those whose name has one of the words (a regular
expression); most want the lab of ``make up``.
``python -m tests.guards --table`` writes the table of docs/operations.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- guards -->", "<!-- end of guards -->"
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".make", ".ansible", "node_modules", "__pycache__", ".*_cache")


@dataclass(frozen=True)
class Guard:
    """What is guarded, by what in which file, and the test that misses it. ``mend`` is a playbook, or empty."""

    name: str
    file: str
    old: str
    new: str
    test: str
    mend: str

    def taken_out(self, text: str) -> str:
        """The file without the guard. Raises ValueError if it is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has the guard {self.name!r} {text.count(self.old)} times")
        return text.replace(self.old, self.new)


def guards() -> list[Guard]:
    """All guards, from guards.yml."""
    return [_guard(entry) for entry in yaml.safe_load((ROOT / "tests" / "guards.yml").read_text())]


def _guard(entry: dict[str, Any]) -> Guard:
    place = entry.get("text") or entry["task"]
    if "task" in entry:
        old, new = _task_without_condition((ROOT / place["file"]).read_text(), place["name"])
    else:
        old, new = place["old"], place["new"]
    return Guard(entry["guard"], place["file"], old, new, entry["test"], entry.get("mend", ""))


def _task_without_condition(text: str, name: str) -> tuple[str, str]:
    """A task that asserts, as it stands, and with a condition that is always true."""
    found = re.search(rf"^( *)- name: {re.escape(name)}\n(?:\1  .*\n|\n)*", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"there is no task {name!r}")
    task = found[0]
    without = re.sub(r"^( +)that:.*\n(?:\1 +.*\n)*", r"\1that: true\n", task, count=1, flags=re.MULTILINE)
    return task, without


def _passes(tree: Path, tests: list[str]) -> bool:
    tested = subprocess.run(["pytest", "-q", "-x", *tests], cwd=tree, capture_output=True, text=True, check=False)
    if tested.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(tests)} could not be run:\n{tested.stdout[-2000:]}")
    return tested.returncode == 0


def is_missed(guard: Guard, tree: Path) -> bool:
    """Whether the guard's test fails in a tree without it."""
    file = tree / guard.file
    file.write_text(guard.taken_out(file.read_text()))
    passed = _passes(tree, [guard.test])
    shutil.copy(ROOT / guard.file, file)
    if guard.mend:
        # A run that was not refused and went on until the test gave it up has the lock.
        _play("lock", "-e", "state=release", "-e", "reason=guards")
        _play(guard.mend)
    return not passed


def _play(*arguments: str) -> None:
    name, *options = arguments
    command = ["ansible-playbook", f"playbooks/{name}.yml", *options]
    mended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if mended.returncode:
        raise RuntimeError(f"{' '.join(command)} did not mend what the test broke:\n{mended.stdout[-2000:]}")


def table() -> str:
    """The guards and their tests as a Markdown table."""
    rows = [f"| {guard.name} | `{guard.test.removeprefix('tests/').partition('[')[0]}` |" for guard in guards()]
    return "\n".join(["| guard | test |", "| --- | --- |", *rows])


def with_table(text: str) -> str:
    """The document with the table as it should be."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)


def main(only: str) -> int:
    """Try the guards whose name matches `only`, a regular expression; returns the exit code."""
    unmissed = []
    chosen = [guard for guard in guards() if re.search(only, guard.name)]
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / ROOT.name
        shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)
        # What fails anyway, as all do when the lab is not well, would show nothing.
        if not _passes(tree, sorted({guard.test for guard in chosen})):
            print("Not all of the tests pass with the guards in place. Mend that first.", file=sys.stderr)
            return 1
        for guard in chosen:
            began = time.monotonic()
            missed = is_missed(guard, tree)
            print(f"{'ok' if missed else 'NOT MISSED':10} {time.monotonic() - began:5.0f} s  {guard.name}", flush=True)
            unmissed += [] if missed else [guard.name]
    if unmissed:
        print(f"No test fails without: {', '.join(unmissed)}", file=sys.stderr)
    return 1 if unmissed else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
        sys.exit(0)
    sys.exit(main("".join(sys.argv[1:2])))
