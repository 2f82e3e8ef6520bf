"""What the node counts. No I/O here: ``http.py`` shows the registry, the parts below only count.

Names follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` for what only grows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

_LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Tally:
    """A counter for hot paths: one addition and no lock, because Trio's thread alone counts."""

    __slots__ = ("_help", "_name", "value")

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._name, self._help, self.value = name, text, 0
        registry.register(self)

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        yield CounterMetricFamily(self._name, self._help, value=self.value)


class Latency:
    """A histogram of seconds for hot paths: two additions and no lock, where the library's takes a lock and a search
    through all buckets."""

    __slots__ = ("_counts", "_help", "_name", "_sum_s")

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._name, self._help = name, text
        self._counts = [0] * (len(_LATENCY_BOUNDS_S) + 1)
        self._sum_s = 0.0
        registry.register(self)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_LATENCY_BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        buckets, upto = [], 0
        for bound, count in zip([*map(str, _LATENCY_BOUNDS_S), "+Inf"], self._counts, strict=True):
            upto += count
            buckets.append((bound, float(upto)))
        yield HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=self._sum_s)


class Metrics:
    """The node's counters, in a registry of their own (several nodes may live in one process)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._count_messages(registry)
        self._count_connections(registry)
        self._show_node(registry)
        self._show_rooms(registry)

    def _count_messages(self, registry: CollectorRegistry) -> None:
        self.messages_in = Tally("chat_messages_in", "Messages received from clients", registry)
        self.messages_committed = Tally(
            "chat_messages_committed", "Messages of this node's clients that were committed and acknowledged", registry
        )
        self.events_applied = Tally("chat_events_applied", "Room events applied from the log", registry)
        self.events_delivered = Tally("chat_events_delivered", "Room events written to clients, each of them", registry)
        self.sent_bytes = Tally("chat_sent_bytes", "Bytes written to clients", registry)
        self.commit = Latency(
            "chat_commit_seconds", "From a request's arrival to its commit and application here", registry
        )
        self.delivery = Latency(
            "chat_delivery_seconds",
            "From the application of an event here until it is written to a client, once a write",
            registry,
        )
        self.requests_refused = Counter(
            "chat_requests_refused", "Requests answered with err, by code", ["code"], registry=registry
        )

    def _count_connections(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        self.connections = gauge("chat_connections", "Clients connected")
        self.connections_opened = counter("chat_connections_opened", "Clients let in")
        self.connections_closed = counter("chat_connections_closed", "Connections ended, by close code", ["code"])
        self.drops = counter("chat_drops", "What was turned away or thrown away, by reason", ["reason"])
        for reason in ("full", "draining", "handshake", "slow_reader", "no_pong"):
            self.drops.labels(reason)  # shown as 0, so that the first one is an increase
        self.slow_readers = gauge("chat_slow_readers", "Clients for whom an event has waited for more than a second")

    def _show_node(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.tasks = gauge("chat_tasks", "Trio tasks of the process")
        self.loop_delay = Latency(
            "chat_event_loop_delay_seconds", "How much later than asked for a task wakes", registry
        )
        self.build = gauge("chat_build_info", "1; which program this is", ["node", "version", "release"])
        self.ready = gauge("chat_ready", "1 when /readyz says so")
        self.draining = gauge("chat_draining", "1 while the node sends its clients away")
        self.peers = gauge("chat_peers", "Other nodes heard of lately")
        self.log_position = gauge("chat_log_position_entries", "Log entries applied")
        self.log_lag = gauge("chat_log_lag_entries", "Log entries not applied yet")
        self.pending = gauge("chat_pending_records", "Records that wait for the log")
        self.token_keys = gauge("chat_token_keys", "Keys that verify tokens")
        self.jwks_age = gauge("chat_jwks_age_seconds", "Since JWKS_URL gave keys; NaN without an answer yet")

    def _show_rooms(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.rooms = gauge("chat_rooms_received", "Rooms that somebody here receives")
        self.largest_room = gauge("chat_room_receivers_max", "Clients here in the largest room")
        self.room_buffer_bytes = gauge("chat_room_buffer_bytes", "Frames kept in memory, of all rooms")
        self.unsent_bytes = gauge("chat_unsent_answer_bytes", "Answers that wait to be written")
