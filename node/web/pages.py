"""Serves the web client: files that are read once, and the headers that keep the page to itself.

Nothing of a request becomes a path: what is served is a table, made at the start.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = Path(__file__).parent
# What the page takes of the libraries that `make web` fetches. They have no imports but among themselves.
LIBRARIES = {
    "vendor/lit-html": ("lit-html", ["lit-html.js", "directive.js", "directive-helpers.js"]),
    "vendor/lit-html/directives": ("lit-html/directives", ["guard.js", "live.js", "repeat.js"]),
    "vendor/marked": ("marked/lib", ["marked.esm.js"]),
}
NOT_BUILT = """The web client is not complete here: its libraries are missing.

In a checkout of the project, run `make web` (it needs the npm registry), and start the node again.
The chat itself serves; other clients work.
"""
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GZIP_FROM_BYTES = 1024
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_CLOSED = "default-src 'none'; frame-ancestors 'none'"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{nodes}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    body: bytes
    zipped: bytes | None
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class PageConfig:
    """What the page has to know before it signs in. It is told to anybody.

    Attributes:
        auth: what ``hello`` takes, as in ``AUTH_MODE``.
        websocket_port, http_port: of this node, as it listens.
        nodes: WebSocket addresses of the other nodes.
        edges: WebSocket addresses of all machines, for a page that came over TLS.
    """

    auth: tuple[str, ...]
    websocket_port: int
    http_port: int
    nodes: tuple[str, ...]
    edges: tuple[str, ...] = ()


def load(static: Path = HERE / "static", libraries: Path = HERE / "node_modules") -> dict[str, Asset]:
    """All files of the page, by their path in it; nothing where the libraries are not there."""
    files = {path.relative_to(static).as_posix(): path for path in static.rglob("*") if path.suffix in _MEDIA_TYPES}
    for folder, (package, names) in LIBRARIES.items():
        files |= {f"{folder}/{name}": libraries / package / name for name in names}
    if not all(path.is_file() for path in files.values()):
        return {}
    return {name: _asset(path) for name, path in files.items()}


def routes(assets: dict[str, Asset], config: Callable[[], PageConfig]) -> list[Route]:
    """The page at ``/``, its files, and ``/config.json``.

    Args:
        assets: of :func:`load`.
        config: asked for each request.
    """

    async def page(request: Request) -> Response:
        if not assets:
            return PlainTextResponse(NOT_BUILT, status_code=503)
        response = _answer(request, assets["index.html"])
        response.headers["Content-Security-Policy"] = policy(request.headers.get("host", ""), config())
        return response

    async def told(_: Request) -> Response:
        now = config()
        content = {name: getattr(now, name) for name in PageConfig.__slots__}
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    async def asset(request: Request) -> Response:
        return _answer(request, assets[request.url.path.removeprefix("/")])

    files = [Route(f"/{name}", asset) for name in assets if name != "index.html"]
    return [Route("/", page), Route("/config.json", told), *files]


def policy(host: str, config: PageConfig) -> str:
    """The page's Content-Security-Policy (W3C, CSP 3): its own files, and the WebSockets of the nodes.

    Args:
        host: the header of that name: the WebSocket is on the same machine, on another port.
    """
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    own = [f"ws://{name}:{config.websocket_port}"] if _HOST.fullmatch(name) else []
    others = (*config.nodes, *config.edges)
    nodes = sorted({*own, *(origin for url in others if (origin := _origin(url)))})
    return _POLICY.format(nodes="".join(f" {node}" for node in nodes))


class SecurityHeaders:
    """Puts the headers on whatever the application answers; an ASGI application.

    Args:
        app: what is wrapped. A Content-Security-Policy of its own stays.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", _CLOSED)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    zipped = gzip.compress(body, mtime=0) if len(body) >= _GZIP_FROM_BYTES else None
    return Asset(body, zipped, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(request: Request, asset: Asset) -> Response:
    # Always asked for again, because the files of two releases do not fit together; unchanged ones are not sent again.
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if asset.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.zipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _origin(url: str) -> str | None:
    """Scheme, host and port of a node's address, where it is one that may stand in a header."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc) else None
