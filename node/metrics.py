"""What the node counts. No I/O here: ``http.py`` shows the registry, the parts below only count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The node's counters, in a registry of their own (several nodes may live in one process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.tasks = Gauge("chat_tasks", "Trio tasks of the process", registry=self.registry)
        self.connections = Gauge("chat_connections", "Clients connected", registry=self.registry)
        self.connections_total = Counter("chat_connections_opened", "Clients let in", registry=self.registry)
        self.closed_total = Counter(
            "chat_connections_closed", "Connections ended, by close code", ["code"], registry=self.registry
        )
        self.requests_refused_total = Counter(
            "chat_requests_refused", "Requests answered with err, by code", ["code"], registry=self.registry
        )
        self.messages_in_total = Counter("chat_messages_in", "Messages received from clients", registry=self.registry)
        self.events_total = Counter("chat_events_applied", "Room events applied from the log", registry=self.registry)
        self.bytes_out_total = Counter("chat_bytes_out", "Bytes written to clients", registry=self.registry)
        self.commit_seconds = Histogram(
            "chat_commit_seconds",
            "From a request's arrival to its commit and application, in seconds",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.log_lag = Gauge("chat_log_lag_entries", "Log entries not applied yet", registry=self.registry)
        self.ready = Gauge("chat_ready", "1 when /readyz says so", registry=self.registry)
        self.pending = Gauge("chat_pending_records", "Records that wait for the log", registry=self.registry)
        self.rooms = Gauge("chat_rooms_received", "Rooms that somebody here receives", registry=self.registry)
        self.peers = Gauge("chat_peers", "Other nodes heard of lately", registry=self.registry)
        self.token_keys = Gauge("chat_token_keys", "Keys that verify tokens", registry=self.registry)
        self.jwks_age = Gauge(
            "chat_jwks_age_seconds", "Since JWKS_URL gave keys; NaN without an answer yet", registry=self.registry
        )
