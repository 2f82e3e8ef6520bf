"""Every command in the documents is run by some test; here: that none was forgotten, and those that need nothing."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, PLACES, ROOT, blocks, script, with_place


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_of_commands_says_where_it_is_run(document: Path) -> None:
    assert [block.text for block in blocks(document) if block.place not in PLACES] == []


@pytest.mark.parametrize("document", with_place("make"), ids=lambda path: path.name)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", script(document, "make"), re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("document", with_place("syntax"), ids=lambda path: path.name)
def test_playbooks_for_the_reader_s_inventory_are_well_formed(document: Path) -> None:
    words = [
        shlex.split(line) for line in script(document, "syntax").splitlines() if line.startswith("ansible-playbook ")
    ]
    assert words
    playbooks = sorted({word for line in words for word in line if word.endswith(".yml")})
    command = ["ansible-playbook", "--inventory", "inventories/example", "--syntax-check", *playbooks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def anchors(document: Path) -> set[str]:
    """What a link can name in a document, made of its headings as GitHub does."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text())
    for path, anchor in links:
        if "://" not in path:
            target = document.parent / path if path else document
            assert target.exists(), path
            assert not anchor or anchor in anchors(target), f"{path}#{anchor}"
