"""Judge a recorded history: ``python -m tests.faults HISTORY [REPORT.json]``; exit code 1: an invariant is broken."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.checker import check_index
from tests.faults.history import read
from tests.faults.index import Index
from tests.faults.report import as_json, as_text, report


def main(arguments: list[str]) -> int:
    """Print the report, and write it as JSON if a file is named. Returns the exit code."""
    if not 1 <= len(arguments) <= 2 or not Path(arguments[0]).is_file():
        sys.stderr.write(f"{__doc__}\n")
        return 2
    index = Index(read(Path(arguments[0])))
    found = check_index(index)
    made = report(index, found)
    sys.stdout.write(as_text(made, found) + "\n")
    if len(arguments) == 2:
        Path(arguments[1]).write_bytes(as_json(made))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
