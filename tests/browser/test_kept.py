"""What somebody typed and what was said before: neither is lost from sight on the way through rooms and panels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.node.process import NodeProcess, chat_node

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def ana(browser: Browser, node: NodeProcess) -> Iterator[Person]:
    """Somebody with two rooms."""
    person = Person.at(browser, page_of(node), "ana")
    person.create("den")
    person.create("loft")
    yield person
    assert person.problems == []


def test_large_messages_come_without_a_hole_and_the_one_looked_for_is_there(ana: Person, node: NodeProcess) -> None:
    """A page of history has fewer messages where they are large, so one page is not all that was asked for."""
    lines = "\n".join(f"large {number} {'x ' * 8000}" for number in range(120))
    filled = chat_node("send", "--user", "filler", "--room", "big", "--create", text=lines, chat_url=node.url)
    assert filled.returncode == 0, filled.stderr
    ana.join("big")
    ana.page.keyboard.press("Control+Shift+F")
    ana.page.get_by_label("Words to look for").fill("large 20")
    ana.page.keyboard.press("Enter")
    ana.page.get_by_role("complementary").get_by_role("button", name="filler in big").click()
    expect(ana.message("large 20 ")).to_be_focused()
    numbers = "all => all.map((one) => Number(one.innerText.split(' ', 2)[1]))"
    shown: list[int] = []
    while 119 not in shown:
        ana.timeline.evaluate("e => { e.scrollTop = e.scrollHeight }")
        ana.page.wait_for_timeout(100)
        shown = ana.timeline.locator(".body").evaluate_all(numbers)
    assert shown == list(range(shown[0], 120))
