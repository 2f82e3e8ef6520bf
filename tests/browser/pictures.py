"""Takes the pictures of the web client in the documents: ``make pictures``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.documents import ROOT
from tests.node.process import NodeProcess, program

from .conftest import CHROMIUM, page_of
from .people import Person

IMAGES = ROOT / "docs" / "images"
DESK = {"viewport": {"width": 1180, "height": 680}, "color_scheme": "light", "locale": "en-GB"}
PLAN = """Good morning! The window for **node2** is at noon, as planned:

1. drain
2. new kernel
3. back, and `health.yml`"""
PHONE = {"viewport": {"width": 390, "height": 680}, "color_scheme": "dark", "locale": "en-GB", "is_mobile": True}


def talk(browser: Browser, node: NodeProcess) -> None:
    """A morning before a maintenance window, seen by two of three."""
    ana = Person.at(browser, page_of(node), "ana", **DESK)
    ana.create("operations", "Operations")
    bo, cy = (Person.at(browser, page_of(node), name, **PHONE) for name in ("bo", "cy.r"))
    for person in (bo, cy):
        person.join("operations")
    ana.create("general", "General")
    ana.create("deploys", "Deploys")
    ana.room("Operations").click()
    ana.say(PLAN)
    bo.say("I take it. @ana, will you tell everybody?")
    ana.sees("will you tell everybody?")
    bo.do("Good morning", "React")
    bo.page.get_by_label("React with").get_by_role("button", name="👍").click()
    cy.do("Good morning", "Reply")
    cy.say("Does anybody notice?")
    bo.do("Good morning", "Reply")
    bo.say("Nobody should: this page moves to another node by itself, and what is typed meanwhile is sent then.")
    ana.say("Done: the notice is out.")
    cy.sees("the notice is out")
    cy.do("the notice is out", "React")
    cy.page.get_by_label("React with").get_by_role("button", name="🎉").click()
    ana.page.get_by_role("button", name=re.compile("replies")).click()
    expect(ana.page.get_by_role("complementary").locator("li.message")).to_have_count(3)
    cy.composer.press_sequentially("Thanks")
    expect(ana.page.locator(".composer .typing")).to_have_text("cy.r is typing…")
    for person in (ana, bo):
        person.page.mouse.move(0, 0)
    ana.page.screenshot(path=IMAGES / "web.png")
    bo.page.screenshot(path=IMAGES / "web-phone.png")


def main() -> None:
    """Take them."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        NodeProcess.running(Path(directory), typing_rate=0) as node,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=program("chromium"), args=CHROMIUM)
        talk(browser, node)
        browser.close()


if __name__ == "__main__":
    main()
