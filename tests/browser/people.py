"""People at the page: what they do with it, and what they see."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.documents import ROOT

PATIENCE_MS = 20_000
"""How long anything may take; much, because other tests may keep the processors busy."""
expect.set_options(timeout=PATIENCE_MS)

AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"


class Person:
    """Somebody at a page of their own, as in a browser of their own.

    Attributes:
        problems: errors of the page, and what its security policy had to stop.
    """

    def __init__(self, context: BrowserContext, name: str) -> None:
        self.name = name
        self.context = context
        self.problems: list[str] = []
        self.page: Page = self._new_page()

    @classmethod
    def at(cls, browser: Browser, address: str, name: str, **how: Any) -> Person:
        """A guest who has signed in at a node's page."""
        person = cls(browser.new_context(**how), name)
        person.sign_in(address)
        return person

    def _new_page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self.problems.append(said.text) if "Content Security" in said.text else None)
        return page

    def sign_in(self, address: str) -> None:
        self.page.goto(address)
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.status).to_contain_text("Connected to")

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it is."""
        # The page's own policy lets no script in, so this one comes in by the debugger.
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        )
        return [f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found["violations"]]

    def leave(self) -> None:
        """Close the page; what the browser keeps stays."""
        self.page.close()

    def come_back(self, address: str) -> None:
        """A new page in the same browser."""
        self.page = self._new_page()
        self.sign_in(address)

    # --- what they do ---

    def create(self, room: str, title: str = "") -> None:
        self.page.get_by_role("button", name="New room").click()
        self.page.get_by_label("Id").fill(room)
        self.page.get_by_label("Title").fill(title)
        self.page.get_by_role("button", name="Make the room").click()
        self._is_in(title or room)

    def join(self, room: str) -> None:
        self.page.get_by_role("button", name="Find a room").first.click()
        self.page.get_by_label("Begins with").fill(room)
        found = self.page.get_by_role("dialog").get_by_role("button", name=re.compile("^Join ")).first
        name = (found.get_attribute("aria-label") or found.inner_text()).removeprefix("Join ")
        found.click()
        self._is_in(name)

    def _is_in(self, name: str) -> None:
        """Wait for the room itself: the composer may still be that of the room before it."""
        expect(self.page.locator(".roomhead h2")).to_contain_text(name)
        expect(self.composer).to_be_visible()

    def say(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def do(self, text: str, action: str) -> None:
        """What is offered at the message with this text."""
        message = self.message(text)
        message.hover()
        message.get_by_role("button", name=action, exact=True).click()

    # --- what they see ---

    @property
    def status(self) -> Locator:
        return self.page.locator(".connection")

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer")

    @property
    def timeline(self) -> Locator:
        return self.page.get_by_role("log")

    def message(self, text: str) -> Locator:
        return self.timeline.locator("li.message").filter(has=self.page.locator(".body", has_text=text))

    def room(self, name: str) -> Locator:
        return self.page.get_by_role("navigation").get_by_role("link", name=name)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what Playwright cannot wait for by itself: the page's policy lets it poll nothing in the page."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not condition():
            assert time.monotonic() < deadline, f"did not come about: {what}"
            self.page.wait_for_timeout(50)

    def wait_sent(self) -> None:
        """Wait until nothing that was typed is kept any more."""
        kept = "Object.keys(localStorage).some((key) => key.startsWith('chat.unsent.'))"
        self.wait_for(lambda: not self.page.evaluate(kept), "sent")

    def sees(self, *texts: str) -> None:
        """Each of these messages once."""
        for text in texts:
            expect(self.message(text)).to_have_count(1)
