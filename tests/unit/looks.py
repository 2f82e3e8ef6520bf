"""What three hosts of a healthy cluster tell, for the tests of the judge to break."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NOW = 1_800_000_000.0
NAMES = ("nats1", "nats2", "nats3", "node1", "node2", "node3")


def healthy() -> dict[str, Json]:
    """Inventory name -> facts."""
    return {f"host{number}": facts(number) for number in (1, 2, 3)}


def facts(number: int) -> Json:
    return {
        "at": NOW,
        "engine": {"up": True, "version": "28", "error": ""},
        "host": {
            "hostname": f"host{number}",
            "uptime_s": 1000.0,
            "cpus": 2,
            "load": [0.1, 0.1, 0.1],
            "memory_bytes": 1000,
            "available_bytes": 900,
            "disks": [{"path": "/", "free_bytes": 60, "used_percent": 40.0, "inodes_percent": 3.0}],
        },
        "certificate": {"expires": NOW + 90 * 86_400},
        "timer": {},
        "swarm": swarm(number),
        "containers": [container("nats", number), container("node", number)],
        "nodes": {f"node{number}": node(number)},
        "nats": {f"nats{number}": log_server(number)},
    }


def swarm(number: int) -> Json:
    machines = [
        {
            "id": f"m{n}",
            "hostname": f"host{n}",
            "address": f"10.0.0.{n}",
            "state": "ready",
            "availability": "active",
            "node_type": f"node{n}",
            "manager": True,
            "reachable": True,
            "leader": n == 1,
            "engine": "28",
        }
        for n in (1, 2, 3)
    ]
    return {
        "state": "active",
        "node_id": f"m{number}",
        "manages": True,
        "leads": number == 1,
        "error": "",
        "machines": machines,
        "services": {name: service(name) for name in NAMES},
        "drift": [],
        "releases": [{"release": 4, "at": "2027-01-01T00:00:00Z", "by": "ana", "services": []}],
        "lock": {},
        "window": {},
        "audit": [],
    }


def service(name: str, **changed: Any) -> Json:
    usual = {
        "wanted": 1,
        "running": 1,
        "image": "registry/chat@sha256:0123456789abcdef",
        "release": "abc",
        "node_type": f"node{name[-1]}",
        "host": f"host{name[-1]}",
        "since": "2027-01-15T07:00:00Z",
        "failed_at": [],
        "errors": [],
        "update": "",
        "update_message": "",
        "missing_objects": [],
        "tasks": [],
    }
    return usual | changed


def container(kind: str, number: int) -> Json:
    return {
        "id": f"{kind}{number}" * 12,
        "service": f"{kind}{number}",
        "pid": 100,
        "status": "running",
        "health": "healthy",
        "check_output": "",
        "started": "2027-01-15T07:00:00.123456789Z",
        "image": "registry/chat@sha256:0123456789abcdef",
        "addresses": {"chat-overlay": f"10.0.1.{number}"},
    }


def node(number: int) -> Json:
    peers = [f"node{n}" for n in (1, 2, 3) if n != number]
    ready = {"ready": True, "reason": None, "version": "1", "release": "abc", "applied": 9, "head": 9}
    return {"ready": ready | {"peers": peers, "connections": 5}, "metrics": {}, "error": ""}


def log_server(number: int) -> Json:
    replicas = [{"name": f"nats{n}", "current": True} for n in (1, 2, 3) if n != number]
    stream = {
        "cluster": {"leader": "nats2", "replicas": [{"name": "nats1", "lag": 0}]},
        "state": {"messages": 9, "bytes": 900, "last_seq": 9},
    }
    return {
        "healthz": {"status": "ok"},
        "varz": {"version": "2.15.1"},
        "jsz": {
            "meta_cluster": {"leader": "nats3", "replicas": replicas},
            "account_details": [{"stream_detail": [stream]}],
        },
        "error": "",
    }
