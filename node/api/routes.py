"""The admin API on HTTP: a request in, checked against its operation, and an answer or a problem out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import msgspec
import structlog
import trio
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from node import __version__
from node.api import bodies, problems
from node.api.gate import Gate
from node.api.openapi import document
from node.api.operations import OPERATIONS, Call, Host, Operation, Reply, not_ready
from node.api.problems import MEDIA_TYPE, Refused, refused
from node.errors import ErrorCode, LogError, RequestError

BASE = "/api/v1"
_BODY_TIMEOUT_S = 10.0
_JSON = "application/json"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_encode = msgspec.json.Encoder().encode
logger = structlog.get_logger()


def mount(host: Host, gate: Gate, max_body_bytes: int) -> Mount:
    """The API, under :data:`BASE`.

    Args:
        max_body_bytes: larger bodies are refused.
    """
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation
    described = msgspec.json.format(_encode(document(OPERATIONS, BASE, __version__)), indent=1)
    routes = [Route(path, _Path(path, methods, host, gate, max_body_bytes)) for path, methods in paths.items()]
    routes.append(Route("/openapi.json", _Document(described)))
    return Mount(BASE, app=Router(routes, redirect_slashes=False, default=_nothing_here))


class _Path:
    """All that can be asked at one path; an ASGI application."""

    def __init__(self, path: str, methods: dict[str, Operation], host: Host, gate: Gate, max_body_bytes: int) -> None:
        self._methods = methods
        self._host = host
        self._gate = gate
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: ASGIApp
        try:
            response = await self._answer(request)
        except Refused as error:
            response = _problem(error)
        except RequestError as error:
            response = _problem(refused(error))
        except ClientDisconnect:
            return
        except Exception:
            logger.exception("the admin API failed", path=request.url.path)
            response = _problem(Refused(problems.INTERNAL, "the node's log lines say more"))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        operation = _operation(self._methods, request.method)
        identity = await self._gate.let_in(request.headers.get("authorization"), self._host)
        if operation.synced:
            await self._catch_up()
        call = Call(
            host=self._host,
            identity=identity,
            path=_checked_path(request.path_params),
            query=_query(request, operation),
            body=await self._body(request, operation),
        )
        reply = await operation.act(call)
        _note(operation, call)
        return _good(operation, reply)

    async def _catch_up(self) -> None:
        """What was acknowledged on any node is to be seen here."""
        node = self._host.node
        if node is not None:
            with suppress(RequestError):  # which means that it is not ready
                await node.replica.catch_up()
        if node is None or not node.replica.ready:
            raise not_ready(f"the node is not ready: {self._host.readiness()['reason'] or 'behind the log'}")

    async def _body(self, request: Request, operation: Operation) -> Any:
        if operation.body is None:
            return None
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise Refused(problems.NO_JSON, f"send the header 'Content-Type: {_JSON}'")
        with trio.move_on_after(_BODY_TIMEOUT_S) as patience:
            data = await self._read(request)
        if patience.cancelled_caught:
            raise Refused(problems.TOO_SLOW, f"a body comes within {_BODY_TIMEOUT_S:g} s", {"Connection": "close"})
        try:
            return msgspec.json.decode(data, type=operation.body)
        except msgspec.ValidationError as error:
            raise Refused(problems.INVALID, str(error)) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refused(problems.MALFORMED, str(error)) from None

    async def _read(self, request: Request) -> bytes:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > self._max_body_bytes:
                too_large = f"a body is at most {self._max_body_bytes} bytes"
                raise Refused(problems.TOO_LARGE, too_large, {"Connection": "close"})
        return bytes(data)


class _Document:
    """The OpenAPI document, which is no secret; an ASGI application."""

    def __init__(self, described: bytes) -> None:
        self._described = described

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            response = Response(self._described, media_type=_JSON, headers=_HEADERS)
        else:
            response = _problem(_no_such_method(scope["method"], ["GET"]))
        await response(scope, receive, send)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    response = _problem(Refused(problems.NO_SUCH_PATH, f"see {BASE}/openapi.json for what there is"))
    await response(scope, receive, send)


def _operation(methods: dict[str, Operation], method: str) -> Operation:
    operation = methods.get("GET" if method == "HEAD" else method)
    if operation is None or (method == "HEAD" and operation.media_type != _JSON):
        raise _no_such_method(method, sorted(methods))
    return operation


def _no_such_method(method: str, allowed: list[str]) -> Refused:
    allow = ", ".join([*allowed, "HEAD"] if "GET" in allowed and method != "HEAD" else allowed)
    return Refused(problems.NO_SUCH_METHOD, f"here one can {allow}, not {method[:20]}", {"Allow": allow})


def _checked_path(found: dict[str, str]) -> dict[str, str]:
    for name, value in found.items():
        try:
            msgspec.convert(value, bodies.PATH_PARAMETERS[name])
        except msgspec.ValidationError as error:
            raise Refused(problems.INVALID, f"{name} in the path: {error}") from None
    return found


def _query(request: Request, operation: Operation) -> Any:
    given = request.query_params.multi_items()
    if len(given) > len(dict(given)):
        raise Refused(problems.INVALID, "a parameter is given twice")
    try:
        return msgspec.convert(dict(given), operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(problems.INVALID, f"in the query: {re.sub(r' - at `[$].*', _named, str(error))}") from None


def _named(where: re.Match[str]) -> str:
    return where.group().replace("$.", "")


class _Long:
    """An answer that is sent as it comes, while the client takes it; an ASGI application."""

    def __init__(self, pieces: AbstractAsyncContextManager[AsyncIterator[bytes]], media_type: str) -> None:
        self._pieces = pieces
        self._headers = _HEADERS | {"Content-Type": media_type}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trouble: LogError | RequestError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_gone, receive, nursery.cancel_scope)
            trouble = await self._send(send)
            nursery.cancel_scope.cancel()
        if trouble is not None:
            known = trouble if isinstance(trouble, RequestError) else RequestError(ErrorCode.UNAVAILABLE, str(trouble))
            await _problem(refused(known))(scope, receive, send)

    async def _send(self, send: Send) -> LogError | RequestError | None:
        """Send all of it; what kept it from beginning is returned. Later, the connection ends short."""
        started = False
        try:
            async with self._pieces as pieces:
                async for piece in pieces:
                    if not started:
                        await self._start(send)
                        started = True
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (LogError, RequestError) as error:
            if started:
                raise
            return error
        await send({"type": "http.response.body"})
        return None

    async def _start(self, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _stop_when_gone(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


def _good(operation: Operation, reply: Reply) -> ASGIApp:
    if reply.pieces is not None:
        return _Long(reply.pieces, operation.media_type)
    location = reply.headers.get("Location")
    headers = _HEADERS | reply.headers | ({"Location": f"{BASE}/{location}"} if location else {})
    body = b"" if reply.body is None else _encode(reply.body)
    response = Response(body, operation.status, headers, media_type=None if reply.body is None else _JSON)
    if reply.then is not None:
        response.background = BackgroundTask(_call, reply.then)
    return response


async def _call(act: Any) -> None:
    act()  # a background task that is no coroutine function would run in a thread


def _problem(error: Refused) -> Response:
    return Response(_encode(error.problem), error.kind.status, _HEADERS | error.headers, media_type=MEDIA_TYPE)


def _note(operation: Operation, call: Call) -> None:
    """Who changed what; nothing of the body, which may hold a password."""
    if operation.method != "GET":
        of = "/".join(call.path.values()) or None
        logger.info("admin", operation=operation.name, user=call.identity.user, of=of)
