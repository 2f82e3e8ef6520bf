"""One look at a host: machine, engine, its place in the Swarm, its containers, its chat node and log server.

What cannot be answered is said to be so, and never keeps the rest from being told.
"""

from __future__ import annotations

import calendar
import http.client
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils import observe_host, observe_swarm
from ansible.module_utils.observe_engine import Engine, EngineError, http_get, in_network_of

NODE_CERTIFICATE = "/var/lib/docker/swarm/certificates/swarm-node.crt"
TIMER_REPORT = Path("/var/lib/chat-ops/health.json")
NODE_PORT, NATS_MONITOR_PORT = 9090, 8222
NATS_QUESTIONS = {"healthz": "/healthz", "varz": "/varz", "jsz": "/jsz?streams=true&raft=true"}
ANSWER_S = 3.0
SERVICE_LABEL = "com.docker.swarm.service.name"
SAMPLE_LINE = re.compile(r"^(\w+)(?:\{.*\})? (\S+)$", re.MULTILINE)

Json = dict[str, Any]


class Look:
    """One look.

    Args:
        stack: name of the stack.
        interval_s: seconds between two samples of all counters; 0 takes one sample and tells no rates.
    """

    def __init__(self, stack: str, interval_s: float = 0.0) -> None:
        self._stack = stack
        self._interval_s = interval_s
        self._engine = Engine()

    def take(self) -> Json:
        """Everything, as one JSON object; takes as long as its slowest part."""
        try:
            version = self._engine.get("/version")
            engine = {"up": True, "version": version["Version"], "error": ""}
        except EngineError as error:
            engine = {"up": False, "version": "", "error": str(error)}
        found: Json = {"at": time.time(), "engine": engine, "containers": [], "swarm": {}, "nodes": {}, "nats": {}}
        parts: dict[str, Callable[[], Any]] = {"host": host, "certificate": certificate, "timer": timer}
        if engine["up"]:
            parts["swarm"] = lambda: observe_swarm.look(self._engine, self._stack)
            parts["chat"] = self._chat
        with ThreadPoolExecutor() as pool:
            answers = {name: pool.submit(part) for name, part in parts.items()}
            if self._interval_s:
                answers["host_rates"] = pool.submit(self._rates, observe_host.host_sample)
        found.update({name: answer.result() for name, answer in answers.items() if name != "chat"})
        if "chat" in answers:
            found.update(answers["chat"].result())
        return found

    def _chat(self) -> Json:
        try:
            rows = [container(item, self._stack) for item in self._engine.containers(self._stack)]
        except EngineError as error:
            return {"containers_error": str(error)}
        live = [row for row in rows if row["pid"]]
        with ThreadPoolExecutor(max_workers=16) as pool:
            usage = [(row, pool.submit(self._usage, row["pid"])) for row in live if self._interval_s]
            nats = {row["service"]: pool.submit(log_server, row["pid"]) for row in live if is_of(row, "nats")}
            nodes = {row["service"]: pool.submit(self._node, row["pid"]) for row in live if is_of(row, "node")}
        for row, answer in usage:
            row.update(answer.result())
        return {
            "containers": rows,
            "nats": {name: answer.result() for name, answer in nats.items()},
            "nodes": {name: answer.result() for name, answer in nodes.items()},
        }

    def _usage(self, pid: int) -> Json:
        try:
            rates = self._rates(lambda: observe_host.container_sample(pid))
            return {"usage": observe_host.container_levels(pid), "rates": rates}
        except OSError:
            return {}  # it has just ended

    def _node(self, pid: int) -> Json:
        def ask(path: str) -> str:
            # Inside its network, so that several replicas or another published port make no difference.
            return in_network_of(pid, lambda: http_get("127.0.0.1", NODE_PORT, path, ANSWER_S))

        try:
            found: Json = {"ready": json.loads(ask("/readyz")), "metrics": metrics(ask("/metrics")), "error": ""}
            if self._interval_s:
                found["rates"] = self._rates(lambda: metrics(ask("/metrics")))
        except (OSError, ValueError, http.client.HTTPException) as error:
            return {"ready": {}, "metrics": {}, "rates": {}, "error": f"{error or type(error).__name__}"}
        return found

    def _rates(self, sample: Callable[[], dict[str, float]]) -> dict[str, float]:
        began, before = time.monotonic(), sample()
        time.sleep(self._interval_s)
        return observe_host.rates(before, sample(), time.monotonic() - began)


def is_of(row: Json, kind: str) -> bool:
    return bool(row["service"].startswith(kind))


def container(item: Json, stack: str) -> Json:
    """One line on a container as inspected."""
    state, labels = item["State"], item["Config"]["Labels"]
    health = state.get("Health") or {}
    checks = health.get("Log") or [{}]
    networks = item["NetworkSettings"]["Networks"]
    return {
        "id": item["Id"],
        "service": labels.get(SERVICE_LABEL, "").removeprefix(f"{stack}_"),
        "task": labels.get("com.docker.swarm.task.id", ""),
        "pid": state["Pid"],
        "status": state["Status"],
        "health": health.get("Status", "none"),
        "check_output": (checks[-1].get("Output") or "")[-500:].strip(),
        "started": state["StartedAt"],
        "oom_killed": state["OOMKilled"],
        "image": item["Config"]["Image"],
        "addresses": {name.removeprefix(f"{stack}_"): end["IPAddress"] for name, end in networks.items()},
    }


def metrics(text: str) -> dict[str, float]:
    """Metric -> value, over all labels together. The text format of Prometheus."""
    totals: dict[str, float] = {}
    for name, value in SAMPLE_LINE.findall(text):
        totals[name] = totals.get(name, 0.0) + float(value)
    return {name: value for name, value in totals.items() if not name.endswith(("_bucket", "_created"))}


def log_server(pid: int) -> Json:
    """What a log server answers on its monitoring port, which only its own network reaches."""

    def ask() -> Json:
        return {
            name: json.loads(http_get("127.0.0.1", NATS_MONITOR_PORT, path, ANSWER_S))
            for name, path in NATS_QUESTIONS.items()
        }

    try:
        return in_network_of(pid, ask) | {"error": ""}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"healthz": {}, "varz": {}, "jsz": {}, "error": f"{error or type(error).__name__}"}


def host() -> Json:
    """The machine: load, memory, disks, clock."""
    memory = observe_host.memory()
    docker_root = "/var/lib/docker"
    return {
        "hostname": socket.gethostname(),
        "uptime_s": float(Path("/proc/uptime").read_text().split()[0]),
        "cpus": os.cpu_count() or 1,
        "load": list(os.getloadavg()),
        "memory_bytes": memory["MemTotal"],
        "available_bytes": memory["MemAvailable"],
        "disks": [observe_host.disk(path) for path in ("/", docker_root) if Path(path).exists()],
    }


def certificate() -> Json:
    """When this machine's certificate in the Swarm expires, as Unix time; {} where it is in none."""
    if not Path(NODE_CERTIFICATE).exists():
        return {}
    asked = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", NODE_CERTIFICATE],
        capture_output=True,
        text=True,
        timeout=ANSWER_S,
        check=False,
    )
    text = asked.stdout.strip().removeprefix("notAfter=")
    if asked.returncode != 0 or not text:
        return {"error": asked.stderr.strip()}
    return {"expires": calendar.timegm(time.strptime(text, "%b %d %H:%M:%S %Y GMT"))}


def timer() -> Json:
    """What the hourly check on this machine said last; {} if it never ran."""
    try:
        report: Json = json.loads(TIMER_REPORT.read_text())
    except (OSError, ValueError):
        return {}
    return report
