"""Two people on two nodes, and what they notice when nodes go and come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.node.process import NodeProcess

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def two(browser: Browser, nodes: list[NodeProcess]) -> tuple[Person, Person]:
    ana = Person.at(browser, page_of(nodes[0]), "ana")
    ana.create("general", "General")
    bo = Person.at(browser, page_of(nodes[1]), "bo")
    bo.join("general")
    return ana, bo


def test_two_people_talk(two: tuple[Person, Person]) -> None:
    ana, bo = two
    expect(ana.status).to_contain_text("Connected to node1")
    expect(bo.status).to_contain_text("Connected to node2")
    ana.say("hello **bo**, and @bo")
    bo.sees("hello bo, and @bo")
    expect(bo.message("hello bo").locator("strong", has_text="bo").last).to_be_visible()
    expect(bo.message("hello bo").locator(".mention.me")).to_have_text("@bo")
    bo.composer.press_sequentially("I am here")
    expect(ana.page.locator(".composer .typing")).to_have_text("bo is typing…")
    bo.composer.press("Enter")
    ana.sees("I am here")
    expect(ana.page.get_by_role("button", name="2 members · 2 online")).to_be_visible()


def test_reactions_edits_deletions_and_threads_are_seen_by_the_other(two: tuple[Person, Person]) -> None:
    ana, bo = two
    ana.say("shall we?")
    bo.sees("shall we?")
    bo.do("shall we?", "React")
    bo.page.get_by_label("React with").get_by_role("button", name="🎉").click()
    reaction = ana.message("shall we?").get_by_role("button", name="🎉 1 by bo")
    expect(reaction).to_have_text("🎉 1")
    reaction.click()
    expect(bo.message("shall we?").get_by_role("button", name="🎉 2 by bo and ana")).to_have_text("🎉 2")
    bo.do("shall we?", "Reply")
    bo.say("in the thread")
    expect(ana.message("in the thread").locator(".quote")).to_contain_text("shall we?")
    ana.page.get_by_role("button", name="1 reply").click()
    thread = ana.page.get_by_role("complementary", name="Thread")
    expect(thread.locator("li.message")).to_have_count(2)
    thread.get_by_label("Reply in the thread").fill("indeed")
    thread.get_by_label("Reply in the thread").press("Enter")
    expect(bo.page.get_by_role("button", name="2 replies")).to_be_visible()
    expect(thread.locator("li.message")).to_have_count(3)
    assert ana.violations() == []
    thread.get_by_role("button", name="Close").click()
    ana.do("shall we?", "Edit")
    expect(ana.composer).to_have_value("shall we?")
    ana.say("shall we go?")
    expect(bo.message("shall we go?").locator(".edited")).to_be_visible()
    ana.say("a mistake")
    ana.do("a mistake", "Delete")
    ana.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(bo.timeline.locator("li.message", has_text="Message deleted")).to_have_count(1)
    bo.sees("shall we go?")


def test_what_is_unread_is_counted_and_read_on_all_pages_of_a_user(
    browser: Browser, nodes: list[NodeProcess], two: tuple[Person, Person]
) -> None:
    ana, bo = two
    bo.create("aside", "Aside")
    for number in range(3):
        ana.say(f"while you were away {number}")
    expect(bo.room("General").locator(".badge")).to_contain_text("3 new messages")
    also_bo = Person.at(browser, page_of(nodes[0]), "bo")
    expect(also_bo.room("General").locator(".badge")).to_contain_text("3 new messages")
    also_bo.room("General").click()
    expect(also_bo.timeline.locator("li.new")).to_have_count(1)
    expect(bo.room("General").locator(".badge")).to_have_count(0)
    bo.room("General").click()


def test_direct_messages(two: tuple[Person, Person]) -> None:
    ana, bo = two
    ana.page.get_by_role("button", name="New message").click()
    ana.page.get_by_label("To whom").fill("bo")
    ana.page.get_by_role("button", name="Open").click()
    expect(ana.page.get_by_role("heading", name="bo", exact=True)).to_be_visible()
    ana.say("only for you")
    expect(bo.room("ana").locator(".badge")).to_contain_text("1 new message")
    bo.room("ana").click()
    bo.sees("only for you")
    for person in two:
        person.room("General").click()


def test_the_page_goes_on_when_its_node_drains_and_when_it_is_killed(
    nodes: list[NodeProcess], two: tuple[Person, Person]
) -> None:
    ana, bo = two
    assert nodes[0].stop() == 0
    expect(ana.status).to_contain_text("Connected, moved from node1 to node2")
    ana.say("from the other node")
    bo.say("I see you")
    for person in two:
        person.sees("from the other node", "I see you")
    nodes[0].start()
    nodes[0].wait_serving()
    nodes[1].kill()
    ana.say("while there is no node for me")
    expect(bo.status).to_contain_text("Connected, moved from node2 to node1")
    for person in two:
        person.sees("while there is no node for me", "I see you")
    nodes[1].start()
    nodes[1].wait_serving()


def test_what_is_typed_offline_arrives_once_even_from_a_page_that_was_closed(
    nodes: list[NodeProcess], two: tuple[Person, Person]
) -> None:
    ana, bo = two
    for node in nodes:
        node.kill()
    expect(ana.status).to_contain_text("What you write is kept")
    ana.say("typed offline, one")
    ana.say("typed offline, two")
    expect(ana.message("typed offline, two")).to_contain_text("Kept, and sent when there is a connection")
    expect(ana.status).to_contain_text("2 unsent, kept")
    assert ana.violations() == []
    ana.leave()
    for node in nodes:
        node.start()
        node.wait_serving()
    bo.sees("I see you")
    expect(bo.message("typed offline")).to_have_count(0)
    ana.come_back(page_of(nodes[0]))
    bo.sees("typed offline, one", "typed offline, two")
    bodies = bo.timeline.locator("li.message .body").all_inner_texts()
    assert bodies.index("typed offline, one") < bodies.index("typed offline, two")
    ana.room("General").click()
    ana.sees("typed offline, one", "typed offline, two")
    ana.wait_sent()


def test_a_message_whose_acknowledgement_was_lost_is_sent_again_and_there_once(
    browser: Browser, nodes: list[NodeProcess], two: tuple[Person, Person]
) -> None:
    _, bo = two
    person = Person(browser.new_context(), "cy")
    sent: list[dict[str, Any]] = []

    def without_the_first_answer(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def up(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["op"] == "send":
                sent.append(frame)
            server.send(text)

        def down(text: str | bytes) -> None:
            answered = json.loads(text).get("id")
            if len(sent) == 1 and answered == sent[0]["id"]:
                route.close(code=1011)
                server.close()
            else:
                route.send(text)

        route.on_message(up)
        server.on_message(down)

    person.page.route_web_socket("**/ws", without_the_first_answer)
    person.sign_in(page_of(nodes[0]))
    person.join("general")
    person.say("acknowledged late")
    person.wait_sent()
    person.sees("acknowledged late")
    bo.sees("acknowledged late")
    assert len(sent) == 2
    assert sent[0]["cid"] == sent[1]["cid"]


def test_no_page_had_a_fault(two: tuple[Person, Person]) -> None:
    assert [person.problems for person in two] == [[], []]
