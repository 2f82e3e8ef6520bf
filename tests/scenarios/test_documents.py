"""The commands in the documents that want the lab are run as they are written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT, script, with_place
from tests.scenarios.lab import Lab


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", with_place("lab"), ids=lambda path: path.name)
def test_commands_against_the_lab(lab: Lab, document: Path) -> None:
    del lab
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(document, "lab")],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("document", with_place("host"), ids=lambda path: path.name)
def test_commands_on_a_host(lab: Lab, document: Path) -> None:
    for command in script(document, "host").splitlines():
        assert lab.ssh("host1", command), f"{command} printed nothing"
