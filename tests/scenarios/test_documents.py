"""The commands in the documents that want the lab are run as they are written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.documents import run, script, with_place
from tests.scenarios.lab import Lab


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", with_place("lab"), ids=lambda path: path.name)
def test_commands_against_the_lab(lab: Lab, document: Path) -> None:
    del lab
    run(document, "lab", timeout_s=850)


@pytest.mark.parametrize("document", with_place("host"), ids=lambda path: path.name)
def test_commands_on_a_host(lab: Lab, document: Path) -> None:
    for command in script(document, "host").splitlines():
        assert lab.ssh("host1", f"sh -c {shlex.quote(command)}"), f"{command} printed nothing"
