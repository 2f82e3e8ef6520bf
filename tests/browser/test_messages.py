"""What people do with single messages, and with what is said to everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.node.process import NodeProcess, chat_node

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)
KEY = "a-key-that-is-long-enough-for-hs256"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that takes guests, and admins with a token."""
    modes = {"auth_mode": "guest,token", "jwt_key": KEY}
    with NodeProcess.running(tmp_path_factory.mktemp("node"), send_rate=0, **modes) as node:
        yield node


@pytest.fixture(scope="module")
def ana(browser: Browser, node: NodeProcess) -> Iterator[Person]:
    person = Person.at(browser, page_of(node), "ana")
    person.create("hall")
    yield person
    assert person.problems == []


@pytest.fixture(scope="module")
def bo(browser: Browser, node: NodeProcess, ana: Person) -> Iterator[Person]:
    person = Person.at(browser, page_of(node), "bo")
    person.join("hall")
    yield person
    assert person.problems == []


def test_a_reaction_is_taken_back_and_any_emoji_will_do(ana: Person, bo: Person) -> None:
    ana.say("who comes?")
    bo.do("who comes?", "React")
    bo.page.get_by_label("Another emoji").fill("🦊")
    bo.page.get_by_label("Another emoji").press("Enter")
    at_ana, at_bo = (person.message("who comes?").locator(".reactions button") for person in (ana, bo))
    expect(at_ana).to_have_attribute("aria-label", "🦊 1 by bo")
    expect(at_ana).to_have_attribute("aria-pressed", "false")
    expect(at_bo).to_have_attribute("aria-pressed", "true")
    at_ana.click()
    expect(at_bo).to_have_text("🦊 2")
    at_bo.click()
    expect(at_ana).to_have_attribute("aria-label", "🦊 1 by ana")
    at_ana.click()
    expect(at_bo).to_have_count(0)
    expect(at_ana).to_have_count(0)


def test_a_message_that_was_nearly_deleted_is_kept(ana: Person, bo: Person) -> None:
    ana.say("rather not")
    ana.wait_sent()
    ana.do("rather not", "Delete")
    dialog = ana.page.get_by_role("dialog", name="Delete this message?")
    expect(dialog).to_contain_text("rather not")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_have_count(0)
    ana.say("and on")
    bo.sees("rather not", "and on")


def test_a_search_looks_everywhere_or_only_here(ana: Person) -> None:
    ana.say("a needle in the hall")
    ana.create("attic")
    ana.say("a needle in the attic")
    ana.wait_sent()
    ana.page.keyboard.press("Control+Shift+F")
    panel = ana.page.get_by_role("complementary", name="Search")
    words = panel.get_by_label("Words to look for")
    words.fill("needle")
    words.press("Enter")
    expect(panel.locator(".excerpt")).to_have_text(["a needle in the attic", "a needle in the hall"])
    panel.get_by_label("only in attic").check()
    words.press("Enter")
    expect(panel.locator(".excerpt")).to_have_text(["a needle in the attic"])
    words.fill("haystack")
    words.press("Enter")
    expect(panel.get_by_role("status")).to_have_text("Nothing found.")
    ana.page.keyboard.press("Escape")
    ana.room("hall").click()


def test_an_admin_tells_everybody_and_nobody_else_can(browser: Browser, node: NodeProcess, ana: Person) -> None:
    root = Person(browser.new_context(), "root")
    root.page.goto(page_of(node))
    root.page.get_by_role("radio", name="Token").check()
    root.page.locator("#token").fill(jwt.encode({"sub": "root", "exp": 2**31, "roles": ["admin"]}, KEY))
    root.page.get_by_role("button", name="Sign in").click()
    for person, may in ((ana, 0), (root, 1)):
        person.page.get_by_role("button", name="Menu").click()
        expect(person.page.get_by_role("button", name="Sign out")).to_be_visible()
        expect(person.page.get_by_role("button", name="Notice to everybody")).to_have_count(may)
    ana.page.keyboard.press("Escape")
    root.page.get_by_role("button", name="Notice to everybody").click()
    dialog = root.page.get_by_role("dialog", name="Notice to everybody")
    dialog.get_by_label("Words").fill("back in five minutes")
    dialog.get_by_label("Level").select_option("warning")
    dialog.get_by_label("Minutes").fill("5")
    assert root.violations() == []
    dialog.get_by_role("button", name="Tell everybody").click()
    expect(dialog).to_have_count(0)
    for person in (ana, root):
        expect(person.page.get_by_role("region", name="Notices")).to_have_text("back in five minutes")


def test_a_page_of_history_that_failed_is_asked_for_again(browser: Browser, node: NodeProcess) -> None:
    lines = "\n".join(f"line {number}" for number in range(130))
    filled = chat_node("send", "--user", "filler", "--room", "long", "--create", text=lines, chat_url=node.url)
    assert filled.returncode == 0, filled.stderr
    person = Person(browser.new_context(), "cy")
    asked: list[dict[str, Any]] = []

    def refuse_once(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def up(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["op"] != "history" or "before" not in frame:
                return server.send(text)
            asked.append(frame)
            if len(asked) > 1:
                return server.send(text)
            return route.send(
                json.dumps({"id": frame["id"], "err": {"code": "internal", "msg": "a fault", "retry": False}})
            )

        route.on_message(up)
        server.on_message(route.send)

    person.page.route_web_socket("**/ws", refuse_once)
    person.sign_in(page_of(node))
    person.join("long")
    person.sees("line 129")
    person.timeline.evaluate("e => { e.scrollTop = 0 }")
    person.wait_for(lambda: asked, "asked for what was before")
    person.timeline.evaluate("e => { e.scrollTop = 500 }")
    person.timeline.evaluate("e => { e.scrollTop = 0 }")
    expect(person.timeline.locator("li.message")).to_have_count(100)
    assert asked[0]["before"] == asked[1]["before"]
    assert person.problems == []
