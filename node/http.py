"""The HTTP port: the web client for people; liveness, readiness, metrics and the admin API for operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from node.web.pages import SecurityHeaders


def make_app(
    readiness: Callable[[], dict[str, Any]],
    figures: Callable[[], CollectorRegistry],
    admin: Mount,
    pages: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application.

    Args:
        readiness: the answer of ``/readyz``; ``ready`` in it decides between 200 and 503.
        figures: what is shown under ``/metrics``.
        admin: the admin API.
        pages: the web client.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        report = readiness()
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    async def show_metrics(_: Request) -> Response:
        return Response(generate_latest(figures()), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", show_metrics), admin, *pages],
        middleware=[Middleware(SecurityHeaders)],
    )


async def serve(app: Starlette, file_descriptor: int, shutdown: Callable[..., Any]) -> None:
    """Serve until ``shutdown`` (an async callable) returns.

    Args:
        file_descriptor: a bound socket's, so that a busy port is an error of start-up and not of this server.
    """
    config = Config()
    config.bind = [f"fd://{file_descriptor}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 1
    await hypercorn_serve(app, config, shutdown_trigger=shutdown)  # type: ignore[arg-type]
