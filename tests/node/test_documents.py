"""The commands in the documents that want one node are run as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import run, with_place
from tests.node.process import NodeProcess


@pytest.mark.parametrize("document", with_place("node"), ids=lambda path: path.name)
def test_commands_against_one_node(document: Path, tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path) as node:
        where = {"CHAT_URL": node.url, "DATA_DIR": str(node.data_dir), "HTTP_PORT": str(node.http_port)}
        run(document, "node", timeout_s=50, **where)
