"""What somebody typed and what was said before: neither is lost from sight on the way through rooms and panels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

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


def thread(person: Person, text: str) -> Locator:
    """Where one replies in the thread of a message, opened."""
    person.do(text, "Show the thread")
    panel = person.page.get_by_role("complementary", name="Thread")
    expect(panel.locator("li.message").first).to_contain_text(text)
    return panel.get_by_label("Reply in the thread")


def test_a_reply_that_is_not_sent_stays_with_its_thread(ana: Person) -> None:
    ana.room("den").click()
    ana.say("one matter")
    ana.say("another matter")
    ana.wait_sent()
    thread(ana, "one matter").fill("half a thought")
    reply = thread(ana, "another matter")
    expect(reply).to_have_value("")
    reply.press("Escape")
    ana.room("loft").click()
    expect(ana.page.locator(".roomhead h2")).to_contain_text("loft")
    ana.room("den").click()
    reply = thread(ana, "one matter")
    expect(reply).to_have_value("half a thought")
    reply.press("Enter")
    ana.sees("half a thought")
    expect(reply).to_have_value("")


def test_an_edit_that_is_not_saved_is_there_when_one_comes_back(ana: Person) -> None:
    ana.room("den").click()
    ana.say("as it was")
    ana.wait_sent()
    ana.do("as it was", "Edit")
    ana.composer.fill("as it will be")
    ana.room("loft").click()
    expect(ana.composer).to_have_value("")
    ana.room("den").click()
    expect(ana.composer).to_have_value("as it will be")
    expect(ana.page.get_by_text("Editing:")).to_be_visible()
    ana.composer.press("Enter")
    expect(ana.message("as it will be").locator(".edited")).to_be_visible()
    expect(ana.composer).to_have_value("")


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
        assert shown == list(range(shown[0], shown[-1] + 1))


def test_what_could_not_be_said_any_more_is_shown_until_it_is_sent_or_discarded(
    browser: Browser, node: NodeProcess, ana: Person
) -> None:
    bo = Person.at(browser, page_of(node), "bo")
    not_sent = bo.page.get_by_role("region", name="Not sent")
    unsent = bo.page.get_by_role("main").locator("li.unsent")
    bo.join("den")
    remove(ana, "bo", "den")
    say_at_once(bo, "last words")
    expect(bo.page.get_by_text("You are not in the room den.")).to_be_visible()
    expect(unsent).to_contain_text("last words")
    bo.create("elsewhere")
    not_sent.get_by_role("link", name="den").click()
    expect(unsent).to_contain_text("last words")
    assert bo.violations() == []
    bo.page.get_by_role("button", name="Join den").click()
    expect(bo.composer).to_be_visible()
    unsent.get_by_role("button", name="Try again").click()
    ana.sees("last words")
    expect(unsent).to_have_count(0)
    expect(not_sent).to_have_count(0)

    remove(ana, "bo", "den")
    say_at_once(bo, "very last words")
    unsent.get_by_role("button", name="Discard").click()
    expect(unsent).to_have_count(0)
    expect(not_sent).to_have_count(0)
    bo.page.reload()
    expect(bo.room("elsewhere")).to_be_visible()
    expect(not_sent).to_have_count(0)
    assert bo.problems == []


def remove(person: Person, other: str, room: str) -> None:
    """Throw somebody out of a room after their page told what was read: later it is refused, and the page knows."""
    person.page.wait_for_timeout(600)
    person.room(room).click()
    if not person.page.get_by_role("complementary", name="People").is_visible():
        person.page.get_by_role("button", name="2 members").click()
    person.page.get_by_role("button", name=f"More about {other}").click()
    person.page.get_by_role("button", name="Remove from the room").click()
    expect(person.page.get_by_role("dialog")).to_have_count(0)


def say_at_once(person: Person, text: str) -> None:
    """Type and send faster than the page learns that it is not in the room."""
    person.composer.evaluate(
        "(field, text) => { field.value = text; field.dispatchEvent(new Event('input', {bubbles: true}));"
        " field.form.requestSubmit(); }",
        text,
    )
