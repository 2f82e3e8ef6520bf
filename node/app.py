"""The composition root: makes the parts, runs them, and takes them down in order.

start:  ports -> operators' HTTP -> log -> replica -> (caught up) -> clients
end:    /readyz 503 -> no new clients -> clients move away -> what was taken is finished -> exit
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import trio
from prometheus_client import CollectorRegistry

from node import __version__, admin_key
from node.accounts import Passwords
from node.api.gate import Gate
from node.api.routes import mount
from node.auth import Authenticator
from node.cluster import Beat, Peers
from node.config import Settings, is_loopback
from node.conversation import Node
from node.errors import ChatError, ConfigError, ErrorCode, LogUnavailable, RequestError
from node.export import export as export_log
from node.files import Held, lock
from node.http import make_app
from node.http import serve as serve_http
from node.hub import Hub
from node.jwks import JwksFetcher
from node.log.base import Loader, Log, Source
from node.log.jetstream import JetStreamLog
from node.log.jetstream_copy import JetStreamLoader
from node.log.sqlite import SqliteLog
from node.log.sqlite_copy import SqliteLoader, SqliteSource
from node.metrics import Metrics
from node.presence import Presence
from node.replica import Replica
from node.server import Server
from node.state.records import KNOWN_VERSION, WRITTEN_VERSION
from node.submitter import Submitter
from node.tracing import Tracer
from node.vitals import Vitals
from node.web import pages

_BACKLOG = 1024
_MAX_EXPORTS = 1
_OPEN_RETRY_S = 1.0
_FINISH_TIMEOUT_S = 5.0

logger = structlog.get_logger()


class App:
    """One node. Make it, then :meth:`run` it once.

    Raises:
        ConfigError: a port cannot be taken.
        ChatError: another process uses the data directory.
    """

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        _make_directory(settings.data_dir)
        self._lock_fd = _hold(settings.data_dir)
        self.websocket = _bind(settings.websocket_host, settings.websocket_port, "WEBSOCKET_PORT")
        self.http = _bind(settings.http_host, settings.http_port, "HTTP_PORT")
        # From here on the ports are those that were taken, also where any free one would do.
        settings = replace(settings, websocket_port=_port(self.websocket), http_port=_port(self.http))
        self.settings = settings
        self._http_address = _address(self.http)
        self._log, self._bus = _make_log(settings)
        self._hub = Hub(room_buffer_bytes=settings.max_unsent_bytes)
        self._tracer = tracer = Tracer() if settings.log_level == "DEBUG" else None
        pending, timeout_s = settings.max_pending, settings.send_timeout
        self._submitter = Submitter(self._log, pending, timeout_s, self._record_version, tracer)
        store = settings.data_dir / "store.sqlite"
        self._replica = Replica(self._log, store, self._hub, self._submitter, self.metrics, tracer)
        self._authenticator = Authenticator(
            settings.auth_mode, settings.jwt_key, settings.jwt_issuer, settings.jwt_audience
        )
        self._jwks = self._make_jwks()
        self._vitals = Vitals(self.metrics, self._replica, self._submitter, self._hub, self._authenticator, self._jwks)
        self.metrics.build.labels(settings.node_id, __version__, settings.chat_release).set(1)
        self._presence = Presence(self._hub, settings.node_id, self._bus)
        self.node: Node | None = None
        self._server: Server | None = None
        self._peers: Peers | None = None
        gate = Gate(settings, admin_key.provide(settings.data_dir, settings.node_id))
        self._admin = mount(self, gate, settings.max_frame_bytes)
        self._exports = 0
        self._draining = False
        self._stop = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until SIGTERM, SIGINT or :meth:`stop`. Reports started when clients can connect.

        Raises:
            ExceptionGroup: of the LogChanged, StoreCorrupt or UnknownVersion that a restart has to deal with.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_signals)
                app = make_app(self.readiness, self.figures, self._admin, pages.routes(pages.load(), self._page_config))
                nursery.start_soon(serve_http, app, self.http.detach(), trio.sleep_forever)
                with trio.CancelScope() as running:
                    nursery.start_soon(self._cancel_on_stop, running)
                    await self._serve_clients(await self._start(nursery), nursery, task_status)
                await self._shut_down()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._log.aclose()
            self.websocket.close()
            os.close(self._lock_fd)

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._draining = True
        self._stop.set()

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` tells."""
        replica, peers = self._replica, self._peers.alive if self._peers else []
        reason = self._why_not_ready()
        jwks_age_s = self._jwks.age_s if self._jwks else None
        return {
            "ready": reason is None,
            "reason": reason,
            "node": self.settings.node_id,
            "version": __version__,
            "release": self.settings.chat_release or None,
            "epoch": self._log.epoch if self._server else None,
            "applied": replica.applied,
            "head": replica.head,
            "digest": replica.digest.hex(),
            "digests": {position: digest.hex() for position, digest in replica.digests.items()},
            "records": self._record_version(),
            "peers": [beat.node for beat in peers],
            "connections": self._connection_count,
            "token_keys": len(self._authenticator.keys),
            "jwks_age_s": None if jwks_age_s is None else round(jwks_age_s, 1),
        }

    def beats(self) -> tuple[Beat, list[tuple[Beat, float]]]:
        """This node as the others see it; and the others, with the seconds since they were heard of."""
        return self._describe(), self._peers.ages if self._peers else []

    def figures(self) -> CollectorRegistry:
        """What ``/metrics`` tells, as it is now."""
        self.metrics.ready.set(self._why_not_ready() is None)
        self.metrics.draining.set(self._draining)
        self.metrics.connections.set(self._connection_count)
        self.metrics.peers.set(len(self._peers.alive) if self._peers else 0)
        self._vitals.refresh()
        return self.metrics.registry

    @property
    def _connection_count(self) -> int:
        return self._server.connection_count if self._server else 0

    def _page_config(self) -> pages.PageConfig:
        settings, peers = self.settings, self._peers.alive if self._peers else []
        urls = tuple(beat.url for beat in peers if beat.url)
        ports = settings.websocket_port, settings.http_port
        return pages.PageConfig(settings.auth_mode, *ports, urls, settings.edge_urls)

    @asynccontextmanager
    async def export(self) -> AsyncGenerator[AsyncGenerator[bytes]]:
        """The log as :mod:`node.export` writes it, piece by piece, read over a connection of its own.

        Raises:
            RequestError: ``overloaded``: too many exports at once.
            LogError: the log cannot be read.
        """
        if self._exports >= _MAX_EXPORTS:
            raise RequestError(ErrorCode.OVERLOADED, "another export is under way", retry_ms=10_000)
        self._exports += 1
        try:
            async with (
                open_source(self.settings) as source,
                aclosing(export_log(source)) as pieces,
                aclosing(piece.data async for piece in pieces) as data,
            ):
                yield data
        finally:
            self._exports -= 1

    def _why_not_ready(self) -> str | None:
        if self._draining:
            return "draining"
        if self._server is None:
            return "starting: the log does not answer yet"
        if not self._log.reachable:
            return "cut off from the log"
        if not self._replica.ready:
            return "behind the log"
        if self._jwks is not None and not self._authenticator.keys:
            return "no keys for tokens yet: JWKS_URL does not give any"
        return None

    def _make_jwks(self) -> JwksFetcher | None:
        settings = self.settings
        if not settings.jwks_url or "token" not in settings.auth_mode:
            return None
        address = urlsplit(settings.jwks_url)
        if address.scheme == "http" and not is_loopback(address.hostname or ""):
            logger.warning("JWKS_URL is http: whoever is on the way can put in keys of their own")
        return JwksFetcher(settings.jwks_url, settings.jwks_max_age, self._authenticator.replace_fetched)

    async def _open_log(self) -> None:
        while True:
            try:
                await self._log.open()
                return
            except LogUnavailable as error:
                if self._bus is None:
                    raise  # a file of our own: waiting will not help
                logger.warning("the log does not answer, will be repeated", reason=str(error))
                await trio.sleep(_OPEN_RETRY_S)

    async def _start(self, nursery: trio.Nursery) -> Server:
        settings = self.settings
        if self._jwks is not None:
            nursery.start_soon(self._jwks.run)
        await self._open_log()
        await nursery.start(self._replica.run)
        for run in (self._submitter.run, self._hub.run, self._vitals.run):
            nursery.start_soon(run)
        self.node = node = Node(
            settings=settings,
            epoch=self._log.epoch,
            authenticator=self._authenticator,
            passwords=Passwords(),
            hub=self._hub,
            replica=self._replica,
            submitter=self._submitter,
            presence=self._presence,
            metrics=self.metrics,
            jwks=self._jwks,
            tracer=self._tracer,
        )
        self._server = server = Server(node)
        if self._bus is not None:
            interval_s, timeout_s = settings.heartbeat_interval, settings.heartbeat_timeout
            self._peers = Peers(self._bus, self._describe, interval_s, timeout_s, self._peers_changed)
            nursery.start_soon(self._presence.listen)
            nursery.start_soon(self._peers.run)
        return server

    def _record_version(self) -> int:
        return self._peers.common_version(WRITTEN_VERSION) if self._peers else WRITTEN_VERSION

    def _peers_changed(self) -> None:
        if self._peers is not None:
            self._presence.peers_changed(beat.node for beat in self._peers.alive)

    def _describe(self) -> Beat:
        return Beat(
            node=self.settings.node_id,
            url=self.settings.public_url,
            version=__version__,
            release=self.settings.chat_release,
            ready=self._why_not_ready() is None,
            applied=self._replica.applied,
            records=KNOWN_VERSION,
            connections=self._connection_count,
        )

    async def _serve_clients(self, server: Server, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        """Listen once there is something to show; until then clients are refused and go elsewhere."""
        await self._replica.wait_ready()
        self.websocket.listen(_BACKLOG)
        self._announce()
        if "guest" in self.settings.auth_mode and not is_loopback(self.settings.websocket_host):
            logger.warning("guests may connect from other machines: AUTH_MODE has guest")
        logger.info("serving", websocket=_address(self.websocket), http=self._http_address, version=__version__)
        nursery.start_soon(server.listen, trio.socket.from_stdlib_socket(self.websocket))
        task_status.started()
        await self._stop.wait()

    async def _shut_down(self) -> None:
        logger.info("draining", connections=self._connection_count)
        self._announce()
        if self._server is not None:
            prefer = self._peers.ready_urls if self._peers else []
            await self._server.drain(self.settings.drain_timeout, lambda: prefer)
        with trio.move_on_after(_FINISH_TIMEOUT_S):
            await self._submitter.drained()
        self._announce(leaving=True)
        logger.info("stopped", pending=self._submitter.pending)

    def _announce(self, *, leaving: bool = False) -> None:
        if self._peers is not None:
            self._peers.announce(leaving=leaving)

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for signal_number in signals:
                if self._draining:
                    raise KeyboardInterrupt
                logger.info("signal", name=signal.Signals(signal_number).name)
                self.stop()


@asynccontextmanager
async def open_source(settings: Settings) -> AsyncGenerator[Source]:
    """The node's log, to be read beside the node.

    Raises:
        LogUnavailable, LogChanged: there is none, or it does not answer.
    """
    log = _jetstream(settings, create=False) if settings.nats_url else SqliteSource(_log_path(settings))
    async with aclosing(log):
        await log.open()
        yield log


@asynccontextmanager
async def open_loader(settings: Settings) -> AsyncGenerator[Loader]:
    """What fills the node's log before there is anything in it.

    Raises:
        ConfigError: the data directory cannot be used.
    """
    _make_directory(settings.data_dir)
    loader = JetStreamLoader(*_servers(settings)) if settings.nats_url else SqliteLoader(_log_path(settings))
    async with aclosing(loader):
        yield loader


def _make_log(settings: Settings) -> tuple[Log, Any]:
    """The log, and the bus between nodes where there are others."""
    if not settings.nats_url:
        return SqliteLog(_log_path(settings)), None
    log = _jetstream(settings, create=True)
    return log, log.nats


def _jetstream(settings: Settings, *, create: bool) -> JetStreamLog:
    return JetStreamLog(*_servers(settings), name=settings.node_id, create=create)


def _servers(settings: Settings) -> tuple[list[str], str | None, str | None, int]:
    user, password = settings.nats_user or None, settings.nats_password or None
    return list(settings.nats_url), user, password, settings.nats_replicas


def _log_path(settings: Settings) -> Path:
    return settings.data_dir / "log.sqlite"


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"DATA_DIR: cannot use {path}: {error.strerror}"]) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError([f"DATA_DIR: {path} cannot be written by this user"])


def _hold(path: Path) -> int:
    """Keep other nodes out of a data directory until the returned descriptor is closed."""
    try:
        return lock(path / "node.lock")
    except Held as error:
        raise ChatError(f"DATA_DIR: {error}: every node needs a directory of its own") from None


def _bind(host: str, port: int, setting: str) -> socket.socket:
    """Take a port without listening yet."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError([f"{setting}: cannot listen on {host}:{port}: {error.strerror}"]) from None
    return bound


def _address(bound: socket.socket) -> str:
    return f"{bound.getsockname()[0]}:{_port(bound)}"


def _port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
