"""What people do with rooms, and with each other's places in them: every change is seen by whom it concerns."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Locator, expect

from tests.node.process import NodeProcess

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def ana(browser: Browser, node: NodeProcess) -> Iterator[Person]:
    person = Person.at(browser, page_of(node), "ana")
    yield person
    assert person.problems == []


@pytest.fixture(scope="module")
def bo(browser: Browser, node: NodeProcess) -> Iterator[Person]:
    person = Person.at(browser, page_of(node), "bo")
    yield person
    assert person.problems == []


def both_in(ana: Person, bo: Person, room: str) -> None:
    """A room of ana's in which bo is."""
    ana.create(room)
    bo.join(room)
    expect(ana.page.get_by_role("button", name=re.compile("2 members"))).to_be_visible()


def people(person: Person) -> Locator:
    """The list of who is in the room, opened."""
    shown = person.page.get_by_role("complementary", name="People")
    if not shown.is_visible():
        person.page.get_by_role("button", name=re.compile(r"\d members?")).click()
    expect(shown).to_be_visible()
    return shown


def about(person: Person, other: str, action: str) -> None:
    """What is offered about another member."""
    people(person).get_by_role("button", name=f"More about {other}").click()
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_role("button", name=action, exact=True).click()
    expect(dialog).to_have_count(0)


def settings(person: Person) -> Locator:
    person.page.get_by_role("button", name="Room settings").click()
    return person.page.get_by_role("dialog")


def look_again(person: Person) -> None:
    """The node does not tell who was thrown out: the page asks when somebody looks at it again."""
    person.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def find(person: Person, room: str) -> Locator:
    person.page.get_by_role("button", name="Find a room").first.click()
    person.page.get_by_label("Begins with").fill(room)
    return person.page.get_by_role("dialog")


# --- who gets in ---


def test_only_who_is_invited_finds_a_private_room_and_comes_in(ana: Person, bo: Person) -> None:
    ana.page.get_by_role("button", name="New room").click()
    ana.page.get_by_label("Id").fill("cellar")
    ana.page.get_by_label("Private").check()
    ana.page.get_by_role("button", name="Make the room").click()
    expect(ana.page.locator(".roomhead h2")).to_have_text("🔒cellar")
    expect(find(bo, "cellar")).to_contain_text("No room begins so.")
    bo.page.keyboard.press("Escape")
    people(ana).get_by_label("Invite").fill("bo")
    ana.page.get_by_role("button", name="Invite").click()
    expect(bo.page.get_by_role("alert")).to_contain_text("ana invited you to cellar")
    invitations = bo.page.get_by_role("region", name="Invitations")
    invitations.get_by_role("button", name="Join cellar").click()
    expect(bo.page.locator(".roomhead h2")).to_have_text("🔒cellar")
    expect(invitations).to_have_count(0)
    expect(ana.timeline.locator("li.event")).to_contain_text(["ana invited bo", "bo joined"])


def test_who_is_removed_is_told_and_may_come_back(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "door")
    about(ana, "bo", "Remove from the room")
    expect(people(ana)).not_to_contain_text("bo")
    look_again(bo)
    expect(bo.page.get_by_role("alert")).to_contain_text("You are not in door any more")
    expect(bo.room("door")).to_have_count(0)
    bo.page.get_by_role("button", name="Join door").click()
    expect(bo.composer).to_be_visible()
    expect(ana.timeline.locator("li.event").last).to_contain_text("bo joined")


def test_who_is_banned_by_name_stays_out_until_let_in_again(ana: Person, bo: Person) -> None:
    ana.create("gate")
    dialog = settings(ana)
    dialog.get_by_label("Name").fill("bo")
    dialog.get_by_role("button", name="Ban").click()
    expect(dialog.get_by_label("Name")).to_have_value("")
    find(bo, "gate").get_by_role("button", name="Join gate").click()
    expect(bo.page.get_by_role("alert")).to_contain_text("banned")
    dialog.get_by_label("Name").fill("bo")
    dialog.get_by_role("button", name="Let in again").click()
    expect(dialog.get_by_label("Name")).to_have_value("")
    ana.page.keyboard.press("Escape")
    bo.page.get_by_role("dialog").get_by_role("button", name="Join gate").click()
    expect(bo.page.locator(".roomhead h2")).to_contain_text("gate")
    expect(ana.timeline.locator("li.event")).to_contain_text(["ana banned bo", "ana let bo in again", "bo joined"])


# --- what a room is ---


def test_another_title_and_that_a_room_is_private_now_are_seen_by_all(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "attic")
    expect(bo.page.locator(".roomhead h2")).to_have_text("#attic")
    dialog = settings(ana)
    dialog.get_by_label("Title").fill("Up there")
    dialog.get_by_label("Private").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    for person in (ana, bo):
        expect(person.page.locator(".roomhead h2")).to_have_text("🔒Up there")
        expect(person.room("Up there")).to_be_visible()
        expect(person.timeline.locator("li.event").last).to_contain_text("ana changed the room: Up there, private")
    expect(settings(bo).get_by_label("Title")).to_have_count(0)
    bo.page.keyboard.press("Escape")


def test_a_role_is_given_and_taken_and_with_it_what_one_may(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "office")
    ana.say("by ana")
    bo.sees("by ana")
    may_delete = bo.message("by ana").get_by_role("button", name="Delete", include_hidden=True)
    expect(may_delete).to_have_count(0)
    about(ana, "bo", "moderator")
    expect(people(ana).get_by_role("listitem").filter(has_text="bo")).to_contain_text("moderator")
    expect(bo.timeline.locator("li.event").last).to_contain_text("ana made bo moderator")
    expect(may_delete).to_have_count(1)
    about(ana, "bo", "member")
    expect(may_delete).to_have_count(0)
    expect(people(ana).get_by_role("listitem").filter(has_text="bo")).not_to_contain_text("moderator")


def test_who_leaves_has_the_room_no_more_and_the_others_see_it(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "lobby")
    settings(bo).get_by_role("button", name="Leave").click()
    expect(bo.room("lobby")).to_have_count(0)
    expect(bo.page.get_by_text("You are not in the room lobby.")).to_be_visible()
    expect(ana.timeline.locator("li.event").last).to_contain_text("bo left")
    expect(ana.page.get_by_role("button", name=re.compile("1 member"))).to_be_visible()
    bo.page.wait_for_timeout(500)  # as long as it takes to tell the node what was read
    expect(bo.page.get_by_role("alert")).not_to_contain_text("lobby")


def test_a_room_is_deleted_once_that_is_confirmed(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "shed")
    expect(settings(bo).get_by_role("button", name="Delete the room")).to_have_count(0)
    bo.page.keyboard.press("Escape")
    delete = settings(ana).get_by_role("button", name="Delete the room")
    answers = [True, False]
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if answers.pop():
            dialog.accept()
        else:
            dialog.dismiss()

    ana.page.on("dialog", answer)
    delete.click()
    expect(delete).to_be_visible()
    delete.click()
    assert asked == ["Delete shed and all that was said in it?"] * 2
    for person in (ana, bo):
        expect(person.page.get_by_role("alert")).to_contain_text("shed was deleted")
        expect(person.room("shed")).to_have_count(0)


# --- reading and writing in one ---


def test_names_are_completed_by_keyboard_and_by_mouse(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "names")
    options = ana.page.get_by_role("listbox", name="Names").get_by_role("option")
    ana.composer.press_sequentially("ask @b")
    expect(options).to_have_text(["@bo"])
    ana.composer.press("Tab")
    expect(ana.composer).to_have_value("ask @bo ")
    ana.composer.press_sequentially("or @")
    options.filter(has_text="@bo").click()
    expect(ana.composer).to_have_value("ask @bo or @bo ")
    expect(ana.composer).to_be_focused()
    ana.composer.press_sequentially("@b")
    ana.composer.press("Escape")
    expect(options).to_have_count(0)
    ana.composer.fill("")


def test_what_is_new_begins_at_a_line_and_keys_go_to_the_next_room_that_has_something(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "news")
    ana.say("old news")
    bo.sees("old news")
    bo.create("nave")
    bo.create("nook")
    expect(bo.room("news").locator(".badge")).to_have_count(0)
    ana.say("first new")
    ana.say("second new, @bo")
    expect(bo.room("news").locator(".badge")).to_contain_text("2 new messages, you are mentioned")
    bo.page.keyboard.press("Alt+Shift+ArrowDown")
    expect(bo.page.locator(".roomhead h2")).to_contain_text("news")
    expect(bo.timeline.locator("li.new + li.message")).to_contain_text("first new")
    expect(bo.timeline.locator("li.new")).to_be_in_viewport()
    expect(bo.room("news").locator(".badge")).to_have_count(0)


def test_a_quote_leads_to_what_it_answers(ana: Person, bo: Person) -> None:
    both_in(ana, bo, "quotes")
    ana.say("the question")
    bo.sees("the question")
    for number in range(30):
        ana.say(f"in between {number}")
    bo.sees("in between 29")
    bo.do("the question", "Reply")
    expect(bo.page.get_by_text("Reply to ana:")).to_be_visible()
    bo.say("the answer")
    expect(ana.message("the question")).not_to_be_in_viewport()
    ana.message("the answer").locator(".quote").click()
    expect(ana.message("the question")).to_be_focused()
    expect(ana.message("the question")).to_be_in_viewport()
