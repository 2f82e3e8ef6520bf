"""Log lines on standard output: one JSON object a line, or text for people."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

_QUIET = ("trio-websocket", "nats", "hypercorn.error", "hypercorn.access")


def configure_client() -> None:
    """Set logging up for a command that talks to nodes: a few words to a person, on standard error."""
    structlog.configure(
        processors=[structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def silence() -> None:
    """Say nothing more: something else has the terminal."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


def configure(level: str, style: str, node_id: str) -> None:
    """Set logging up for a node, on standard output.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        style: ``json`` or ``text``.
        node_id: stands in every line.
    """

    def add_node(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["node"] = node_id
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_node,
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
        if style == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, getattr(logging, level)))


def _to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
