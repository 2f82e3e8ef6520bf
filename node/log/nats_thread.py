"""A NATS connection that never gives up, in a thread of its own, for use from Trio.

nats-py is asyncio, so it lives in its own thread with its own event loop. Work crosses over in batches: whatever
piles up while the other side is busy goes over with one wake-up.

nats-py's own reconnecting is switched off. It would keep unsent publishes and send them much later, close itself for
good at any ``-ERR`` it does not know, and hang on a socket whose peer is frozen. Here a connection is used until the
first doubt, then everything in flight on it fails at once with :class:`~node.errors.LogUnavailable` and a new one is
made: to the first server that answers, in the given order, so that the nearest comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import nats.errors
import nats.js.errors
import structlog
import trio
from nats.aio.client import Client
from nats.aio.msg import Msg

from node.errors import LogUnavailable
from node.log.crossing import Call, Crossing, Work

T = TypeVar("T")

_CONNECT_TIMEOUT_S: Final = 2.0
_PING_INTERVAL_S: Final = 1.0
_PING_TIMEOUT_S: Final = 2
"""A dead server is noticed within the sum of the two."""
_CLOSE_TIMEOUT_S: Final = 2.0
_RETRY_MIN_S: Final = 0.05
_RETRY_MAX_S: Final = 1.0
_MAX_UNSENT_BYTES: Final = 1024 * 1024
"""Past this much unsent output, lossy publishes are dropped: the server does not keep up, or is gone."""

logger = structlog.get_logger()
logging.getLogger("nats").addHandler(logging.NullHandler())  # without handlers, logging would print to stderr


class Subscription:
    """Messages of one subject, for one reader. Keeps the newest ``capacity`` and drops the oldest beyond that."""

    def __init__(self, subject: str, capacity: int, post: Callable[[Callable[[], None]], None]) -> None:
        self.subject = subject
        self._messages: deque[tuple[str, bytes]] = deque(maxlen=capacity)
        self._post = post
        self._waking = False
        self._arrived = trio.Event()

    async def deliver(self, message: Msg) -> None:
        """Take a message in. Runs in the NATS thread."""
        self._messages.append((message.subject, message.data))
        if not self._waking:
            self._waking = True
            self._post(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (subject, data), for ever."""
        while True:
            self._arrived = trio.Event()
            while self._messages:
                yield self._messages.popleft()
            await self._arrived.wait()


class NatsThread:
    """One connection to a NATS cluster.

    Args:
        servers: ``nats://host:port`` of each server, the nearest first.
        user: user name, None for no authentication.
        password: the user's password.
        name: what the servers' monitoring shows for this connection.
    """

    def __init__(self, servers: list[str], user: str | None, password: str | None, *, name: str) -> None:
        self._servers = servers
        self._user = user
        self._password = password
        self._name = name
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._subscriptions: list[Subscription] = []
        self._connected = trio.Event()
        self._closed = False
        self._ended = trio.Event()
        self._last_error: BaseException | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection that answered a moment ago."""
        # Of an end Trio is told a little later; of a beginning, when the subscriptions are there.
        return self._client is not None and self._connected.is_set()

    @property
    def last_error(self) -> BaseException | None:
        """Why the last attempt to connect failed, or the last connection broke."""
        return self._last_error

    def start(self) -> None:
        """Start the thread, which connects and reconnects until :meth:`aclose`. To be called from Trio; idempotent."""
        if self._thread is not None:
            return
        self._to_trio = Crossing(trio.lowlevel.current_trio_token().run_sync_soon)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_loop_error)
        self._to_nats = Crossing(self._loop.call_soon_threadsafe)
        self._main = self._loop.create_task(self._keep_connected())
        self._thread = threading.Thread(target=self._run_loop, name="nats", daemon=True)
        self._thread.start()

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when connected.

        Raises:
            LogUnavailable: not within ``timeout_s`` seconds.
        """
        with trio.move_on_after(timeout_s):
            while not self.connected:
                await self._connected.wait()
        if not self.connected:
            raise LogUnavailable(f"no NATS server of {', '.join(self._servers)} answers: {self._last_error}")

    async def call(self, work: Work[T]) -> T:
        """Run ``work`` on the connection, in the NATS thread, and return what it returns.

        Raises:
            LogUnavailable: there is no connection, it broke meanwhile, or nats-py reported an error other than one
                of the JetStream API.
            nats.js.errors.APIError: the JetStream API refused.
        """
        call = Call(work)
        self._post(lambda: self._begin(call))
        try:
            return await call.result()
        except trio.Cancelled:
            self._to_nats.post(call.cancel)
            raise

    def spawn(self, work: Work[object]) -> None:
        """Run ``work`` likewise, without waiting for it; its errors are only logged."""
        with contextlib.suppress(LogUnavailable):
            self._post(lambda: self._begin_quietly(work))

    def publish(self, subject: str, data: bytes) -> None:
        """Send a message that may be lost. Never waits; dropped while there is no connection or it is congested."""
        self.spawn(lambda client: _publish(client, subject, data))

    def subscribe(self, subject: str, capacity: int = 1024) -> Subscription:
        """Receive what is published on ``subject`` (wildcards allowed), over this and all later connections."""
        subscription = Subscription(subject, capacity, lambda call: self._to_trio.post(call))
        self._post(lambda: self._add_subscription(subscription))
        return subscription

    async def aclose(self) -> None:
        """Close the connection and end the thread; calls that wait fail. Idempotent."""
        self._closed = True
        if self._thread is not None:
            self._to_nats.post(self._cancel_main)
            with trio.CancelScope(shield=True):
                await self._ended.wait()

    def _post(self, call: Callable[[], None]) -> None:
        if self._closed or self._thread is None:
            raise LogUnavailable("the NATS connection is closed")
        self._to_nats.post(call)

    # Everything below runs in the NATS thread.

    def _run_loop(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main)
            self._to_nats.run()  # what was posted meanwhile is told that there is no connection
            self._loop.run_until_complete(self._finish_tasks())
        finally:
            self._loop.close()
            self._to_trio.post(self._ended.set)

    async def _finish_tasks(self) -> None:
        await asyncio.gather(*self._tasks, *self._closing, return_exceptions=True)

    async def _keep_connected(self) -> None:
        failures = 0
        broken = ""
        while True:
            for server in sorted(self._servers, key=lambda server: server == broken):  # the one that broke comes last
                lost = asyncio.Event()
                client = await self._connect(server, lost)
                if client is not None:
                    failures = 0
                    await self._use(client, lost)
                    broken = server
                    break
            else:
                failures += 1
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(_RETRY_MAX_S, _RETRY_MIN_S * 2**failures))  # noqa: S311

    async def _connect(self, server: str, lost: asyncio.Event) -> Client | None:
        """A connection to ``server``, or None. ``lost`` is set once the connection is of no more use."""
        client = Client()

        async def on_error(error: Exception) -> None:
            self._note_refusal(error)
            logger.debug("nats_error", server=server, error=str(error))
            if client.is_closed or isinstance(error, nats.errors.StaleConnectionError | OSError):
                lost.set()

        async def on_end() -> None:
            lost.set()

        try:
            await asyncio.wait_for(
                client.connect(
                    [server],
                    user=self._user,
                    password=self._password,
                    name=self._name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    error_cb=on_error,
                    closed_cb=on_end,
                    disconnected_cb=on_end,
                    lame_duck_mode_cb=on_end,
                ),
                _CONNECT_TIMEOUT_S,
            )
        except (nats.errors.Error, OSError) as error:
            self._note_refusal(client.last_error or error)
            self._discard(client)
            return None
        except asyncio.CancelledError:
            self._discard(client)
            raise
        return client

    def _note_refusal(self, error: BaseException) -> None:
        """Remember why, unless it says less than what is known: a server's word counts more than another's silence."""
        if self._last_error is None or not isinstance(error, OSError | nats.errors.NoServersError):
            self._last_error = error

    async def _use(self, client: Client, lost: asyncio.Event) -> None:
        """Offer ``client`` to callers until it breaks."""
        logger.info("nats_connected", server=client.connected_url and client.connected_url.netloc)
        self._client, self._last_error = client, None
        try:
            for subscription in self._subscriptions:
                await client.subscribe(subscription.subject, cb=subscription.deliver)
            self._to_trio.post(lambda: self._connected.set())  # the event of that moment, not of this one
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), _PING_INTERVAL_S)
                    break
                await client.rtt(_PING_TIMEOUT_S)
        except (nats.errors.Error, OSError) as error:
            self._last_error = error
        finally:
            self._client = None
            self._to_trio.post(self._reset_connected)
            for task in self._tasks:
                task.cancel()
            self._discard(client)
            logger.info("nats_disconnected", error=str(self._last_error))

    def _reset_connected(self) -> None:
        if self._connected.is_set():  # else there are tasks that wait for it
            self._connected = trio.Event()

    def _discard(self, client: Client) -> None:
        """Close ``client`` in the background: nats-py may wait for a frozen peer to read."""

        async def close() -> None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await asyncio.wait_for(client.close(), _CLOSE_TIMEOUT_S)

        task = self._loop.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _begin(self, call: Call[T]) -> None:
        if self._client is None:
            error = LogUnavailable(f"not connected to NATS: {self._last_error}")
            self._to_trio.post(lambda: call.fail(error))
        else:
            call.task = self._spawn(call.work(self._client))
            call.task.add_done_callback(lambda task: self._finish(task, call))

    def _finish(self, task: asyncio.Task[T], call: Call[T]) -> None:
        if task.cancelled():
            lost = LogUnavailable(f"the NATS connection broke: {self._last_error}")
            self._to_trio.post(lambda: call.fail(lost))
        elif (error := task.exception()) is not None:
            self._to_trio.post(lambda: call.fail(_translated(error)))
        else:
            value = task.result()
            self._to_trio.post(lambda: call.succeed(value))

    def _begin_quietly(self, work: Work[object]) -> None:
        if self._client is not None:
            self._spawn(_quietly(work(self._client)))

    def _add_subscription(self, subscription: Subscription) -> None:
        self._subscriptions.append(subscription)
        self._begin_quietly(lambda client: client.subscribe(subscription.subject, cb=subscription.deliver))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _cancel_main(self) -> None:
        self._main.cancel()


async def _publish(client: Client, subject: str, data: bytes) -> None:
    if client.pending_data_size < _MAX_UNSENT_BYTES:
        await client.publish(subject, data)


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except (nats.errors.Error, OSError) as error:
        logger.debug("nats_error", error=str(error))


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, nats.js.errors.APIError):
        return error
    if isinstance(error, nats.errors.Error | OSError):
        unavailable = LogUnavailable(str(error) or type(error).__name__)
        unavailable.__cause__ = error
        return unavailable
    return error


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.debug("nats_loop_error", text=context.get("message"), error=repr(context.get("exception")))
