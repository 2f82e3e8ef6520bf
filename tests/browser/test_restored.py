"""A log that came from a backup: the page goes on with what is in it, and counts by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.node.process import NodeProcess, chat_node

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)


def test_what_is_unread_is_counted_anew_in_a_restored_log(browser: Browser, tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path / "node", send_rate=0) as node:
        ana, bo = Person.at(browser, page_of(node), "ana"), Person.at(browser, page_of(node), "bo")
        ana.create("general", "General")
        bo.join("general")
        ana.say("kept and read")
        bo.sees("kept and read")
        bo.create("aside", "Aside")
        ana.say("kept and new")
        _badge(bo, "1 new message")
        _export(node, tmp_path / "export")
        for number in range(3):
            ana.say(f"said since {number}")
        _badge(bo, "4 new messages")
        bo.room("General").click()
        bo.sees("said since 2")
        bo.room("Aside").click()
        expect(bo.room("General").locator(".badge")).to_have_count(0)

        _restore(node, tmp_path / "export")
        ana.say("after the restore")
        _badge(bo, "2 new messages")
        bo.room("General").click()
        bo.sees("after the restore")
        bo.sees("kept and new")
        expect(bo.message("said since")).to_have_count(0)
        assert ana.problems == bo.problems == []


def _badge(person: Person, text: str) -> None:
    expect(person.room("General").locator(".badge")).to_contain_text(text)


def _export(node: NodeProcess, file: Path) -> None:
    done = chat_node("export", str(file), data_dir=node.data_dir)
    assert done.returncode == 0, done.stderr


def _restore(node: NodeProcess, file: Path) -> None:
    """What was in the log is gone, and the node serves what was exported."""
    node.kill()
    shutil.rmtree(node.data_dir)
    done = chat_node("import", str(file), data_dir=node.data_dir)
    assert done.returncode == 0, done.stderr
    node.start()
    node.wait_serving()
