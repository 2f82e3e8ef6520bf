"""Who may come in, as whom, and what the page keeps of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import jwt
import pytest
from playwright.sync_api import Browser, expect

from tests.node.process import NodeProcess, chat_node

from .conftest import page_of
from .people import Person

pytestmark = pytest.mark.timeout(120)
KEY = "a-key-that-is-long-enough-for-hs256"
PASSWORD = "correct horse battery"  # noqa: S105 - of a test's account


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that takes accounts and tokens, and an account on it."""
    directory = tmp_path_factory.mktemp("strict")
    with NodeProcess.running(directory, auth_mode="accounts,token", jwt_key=KEY) as node:
        made = chat_node("user", "add", "dora", text=f"{PASSWORD}\n", data_dir=node.data_dir, http_port=node.http_port)
        assert made.returncode == 0, made.stderr
        yield node


def token(user: str, valid_s: float) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + valid_s}, KEY, algorithm="HS256")


def kept(person: Person) -> str:
    """Everything that the page has put into the browser's storages."""
    return str(person.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"))


def give_token(person: Person, text: str) -> None:
    person.page.locator("#token").fill(text)
    person.page.get_by_role("button", name="Sign in").click()


def test_an_account_wants_its_password_which_is_kept_nowhere(browser: Browser, strict: NodeProcess) -> None:
    person = Person(browser.new_context(), "dora")
    person.page.goto(page_of(strict))
    for password, answer in (("wrong", "no such user, or another password"), (PASSWORD, None)):
        person.page.get_by_label("Name").fill("dora")
        person.page.get_by_label("Password").fill(password)
        person.page.get_by_role("button", name="Sign in").click()
        if answer:
            expect(person.page.get_by_role("alert")).to_contain_text(answer)
    expect(person.status).to_contain_text("Connected to node1")
    assert PASSWORD not in kept(person)
    person.page.reload()
    expect(person.page.get_by_label("Name")).to_have_value("dora")
    expect(person.page.get_by_label("Password")).to_have_value("")


def test_a_token_stays_in_the_tab_and_out_of_addresses_and_logs(browser: Browser, strict: NodeProcess) -> None:
    person = Person(browser.new_context(), "eli")
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.page.on("websocket", lambda socket: asked.append(socket.url))
    person.page.goto(page_of(strict))
    person.page.get_by_label("Token").check()
    shown = token("eli", 600)
    give_token(person, shown)
    expect(person.status).to_contain_text("Connected to node1")
    person.page.reload()
    expect(person.status).to_contain_text("Connected to node1")
    assert shown not in json.dumps(asked) + person.page.url + strict.output
    assert shown not in str(person.page.evaluate("JSON.stringify({...localStorage})"))
    person.page.get_by_role("button", name="Menu").click()
    person.page.get_by_role("button", name="Sign out").click()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert shown not in kept(person)
    assert person.problems == []


def test_when_a_token_expires_what_is_kept_is_sent_with_the_next_one(browser: Browser, strict: NodeProcess) -> None:
    person = Person(browser.new_context(), "fay")
    person.page.goto(page_of(strict))
    person.page.get_by_label("Token").check()
    give_token(person, token("fay", 600))
    person.create("minutes")
    person.page.get_by_role("button", name="Menu").click()
    person.page.get_by_role("button", name="Sign out").click()
    give_token(person, token("fay", 2))
    expect(person.page.get_by_role("alert")).to_contain_text("Sign in again")
    unsent = {"cid": "c-1", "room": "minutes", "body": "written before", "at": 1, "no": 0}
    person.page.evaluate(f"localStorage.setItem('chat.unsent.fay.c-1', {json.dumps(json.dumps(unsent))})")
    give_token(person, token("fay", 600))
    person.sees("written before")
    person.wait_sent()


@pytest.mark.parametrize(
    ("address", "urls"),
    [
        ("http://10.0.0.1:9090/", ["ws://10.0.0.1:8080/ws", "ws://10.0.0.2:8080/ws"]),
        ("https://chat.example/", ["wss://chat.example/ws", "wss://other.example/ws"]),
        (
            "https://chat.example:9090/",
            ["wss://chat.example:9090/ws", "wss://chat.example/ws", "wss://other.example/ws"],
        ),
        ("http://chat.example/", ["ws://chat.example/ws"]),
    ],
)
def test_where_the_page_looks_for_nodes(browser: Browser, strict: NodeProcess, address: str, urls: list[str]) -> None:
    page = browser.new_page()
    page.goto(page_of(strict))
    config: dict[str, object] = {"http_port": 9090, "websocket_port": 8080}
    config["nodes"] = ["ws://10.0.0.2:8080/ws", "ws://10.0.0.1:8080/ws"]
    config["edges"] = ["wss://chat.example/ws", "wss://other.example/ws"]
    find = "([at, config]) => import('/app/nodes.js').then((nodes) => nodes.nodesOf(new URL(at), config).urls())"
    assert page.evaluate(find, [address, config]) == urls
    page.close()
