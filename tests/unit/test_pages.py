"""What the HTTP port answers for the web client, and the headers that keep the page to itself."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from node.web.pages import HERE, LIBRARIES, PageConfig, SecurityHeaders, load, policy, routes

EDGES = ("wss://a.example/ws", "wss://b.example/ws")
CONFIG = PageConfig(("accounts", "guest"), 8080, 9090, ("ws://10.0.0.2:8080/ws",), EDGES)


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """Stand-ins for what `make web` fetches."""
    for package, names in LIBRARIES.values():
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        for name in names:
            (tmp_path / package / name).write_text("export {};\n")
    return tmp_path


def client_of(libraries: Path) -> httpx.AsyncClient:
    app = Starlette(
        routes=[*routes(load(libraries=libraries), lambda: CONFIG)], middleware=[Middleware(SecurityHeaders)]
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat.example:9090")


@pytest.fixture
async def client(libraries: Path) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_of(libraries) as client:
        yield client


def directives(response: httpx.Response) -> dict[str, str]:
    parts = response.headers["content-security-policy"].split("; ")
    return {name: rest for name, _, rest in (part.partition(" ") for part in parts)}


async def test_the_page_lets_in_its_own_files_and_the_nodes_only(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    allowed = directives(page)
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == "'self'"
    assert allowed["connect-src"] == (
        "'self' ws://10.0.0.2:8080 ws://chat.example:8080 wss://a.example wss://b.example"
    )
    assert allowed["frame-ancestors"] == "'none'"
    assert allowed["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_every_answer_has_the_headers(client: httpx.AsyncClient) -> None:
    for path in ("/", "/config.json", "/style.css", "/app/main.js", "/nothing", "/app/../../pages.py"):
        answer = await client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/pages.py", "/node_modules/marked/lib/marked.esm.js", "/app/", "/..%2fpages.py", "/package.json"]
)
async def test_what_is_no_file_of_the_page_is_not_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_page_is_told_what_it_has_to_know(client: httpx.AsyncClient) -> None:
    told = await client.get("/config.json")
    assert told.json() == {
        "auth": ["accounts", "guest"],
        "websocket_port": 8080,
        "http_port": 9090,
        "nodes": ["ws://10.0.0.2:8080/ws"],
        "edges": ["wss://a.example/ws", "wss://b.example/ws"],
    }
    assert told.headers["cache-control"] == "no-store"


async def test_files_that_did_not_change_are_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/style.css", headers={"Accept-Encoding": "identity"})
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    assert "content-encoding" not in first.headers
    zipped = await client.get("/style.css", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.text == first.text
    again = await client.get("/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_without_its_libraries_the_page_says_what_to_run(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        page = await client.get("/")
        assert page.status_code == 503
        assert "make web" in page.text


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("chat.example", "ws://chat.example:8080"),
        ("10.0.0.1:9090", "ws://10.0.0.1:8080"),
        ("[::1]:9090", "ws://[::1]:8080"),
        ("[::1]", "ws://[::1]:8080"),
        ("evil; script-src *", None),
        ("a b:9090", None),
        ("x'self':1", None),
        ("", None),
    ],
)
def test_a_host_gets_into_the_policy_only_if_it_is_one(host: str, own: str | None) -> None:
    config = PageConfig(("guest",), 8080, 9090, ("ws://10.0.0.2:8080/ws", "ws://a;b/ws"))
    expected = " ".join(["'self'", *sorted(["ws://10.0.0.2:8080", *([own] if own else [])])])
    assert f"connect-src {expected}; " in policy(host, config)


def test_all_that_a_module_imports_is_served(libraries: Path) -> None:
    served = load(libraries=libraries)
    for path in (HERE / "static").rglob("*.js"):
        for wanted in re.findall(r'from "([^"]+)"', path.read_text()):
            found = (path.parent / wanted).resolve().relative_to((HERE / "static").resolve())
            assert found.as_posix() in served, f"{path.name} imports {wanted}"


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = (HERE / "static" / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|style=|https?://", page)
    for path in (HERE / "static").rglob("*.js"):
        assert not re.search(r"innerHTML|unsafeHTML|eval\(|style=|document\.write", path.read_text()), path
