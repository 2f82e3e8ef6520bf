"""How the node feels: what is looked up when somebody asks for metrics, and what is measured all the time."""

from __future__ import annotations

import structlog
import trio

from node.auth import Authenticator
from node.hub import Hub
from node.jwks import JwksFetcher
from node.metrics import Metrics
from node.replica import Replica
from node.submitter import Submitter

_REPORT_INTERVAL_S = 60.0
_DELAY_INTERVAL_S = 0.25
_SLOW_AFTER_S = 1.0

logger = structlog.get_logger()


class Vitals:
    """Brings the gauges up to date, and runs beside the node.

    Args:
        metrics: where it is shown.
        replica, submitter, hub, authenticator, jwks: who is asked.
    """

    def __init__(
        self,
        metrics: Metrics,
        replica: Replica,
        submitter: Submitter,
        hub: Hub,
        authenticator: Authenticator,
        jwks: JwksFetcher | None,
    ) -> None:
        self._metrics = metrics
        self._replica = replica
        self._submitter = submitter
        self._hub = hub
        self._authenticator = authenticator
        self._jwks = jwks

    def refresh(self) -> None:
        """Look at everything once. Its cost grows with connections and rooms, so it is no part of ``/readyz``."""
        metrics, replica, hub = self._metrics, self._replica, self._hub
        metrics.tasks.set(trio.lowlevel.current_statistics().tasks_living)
        metrics.log_position.set(replica.applied)
        metrics.log_lag.set(max(0, replica.head - replica.applied))
        metrics.pending.set(self._submitter.pending)
        metrics.rooms.set(hub.room_count)
        metrics.largest_room.set(hub.largest_room)
        metrics.room_buffer_bytes.set(hub.buffer_bytes)
        metrics.unsent_bytes.set(hub.unsent_bytes)
        metrics.slow_readers.set(hub.slow_readers(trio.current_time() - _SLOW_AFTER_S))
        metrics.token_keys.set(len(self._authenticator.keys))
        age_s = self._jwks.age_s if self._jwks else None
        metrics.jwks_age.set(float("nan") if age_s is None else age_s)

    async def run(self) -> None:
        """Measure for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._measure_delay)
            nursery.start_soon(self._report_rate)

    async def _measure_delay(self) -> None:
        """Wake now and then, and see how late: whatever keeps the event loop busy delays everybody as much."""
        while True:
            due_at = trio.current_time() + _DELAY_INTERVAL_S
            await trio.sleep_until(due_at)
            self._metrics.loop_delay.observe(trio.current_time() - due_at)

    async def _report_rate(self) -> None:
        """One line a minute instead of one a message."""
        seen = 0
        while True:
            await trio.sleep(_REPORT_INTERVAL_S)
            now = self._metrics.messages_in.value
            if now != seen:
                logger.info("message rate", per_second=round((now - seen) / _REPORT_INTERVAL_S, 2), total=now)
                seen = now
