"""A release to come: ``python -m tests.node.next_release KNOWN WRITTEN serve`` is a node that reads records up to
version KNOWN and writes version WRITTEN. Its version 2 means what version 1 means."""

from __future__ import annotations

import sys

from node.state import records

records.KNOWN_VERSION, records.WRITTEN_VERSION = int(sys.argv.pop(1)), int(sys.argv.pop(1))

from node.cli import main  # noqa: E402 - everything else of the node sees the changed numbers

if __name__ == "__main__":
    main()
