"""What a host has to say when something is wrong, item by item, each bounded in time and size."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ansible.module_utils.observe_engine import Engine, EngineError, http_get, in_network_of
from ansible.module_utils.observe_look import NATS_MONITOR_PORT, NODE_PORT, container

ITEM_S = 10.0
TOTAL_S = 60.0
LOG_LINES = 500

# Names of processes and not their arguments, which may hold secrets.
COMMANDS = {
    "host/uptime": "uptime",
    "host/memory": "free -m",
    "host/disk": "df -h -x tmpfs -x devtmpfs",
    "host/inodes": "df -i -x tmpfs -x devtmpfs",
    "host/processes": "ps -eo pid,ppid,user,pcpu,pmem,rss,etime,comm --sort=-rss",
    "host/kernel": "dmesg --level emerg,alert,crit,err,warn",
    "host/failed-units": "systemctl --no-pager --failed",
    "host/journal-docker": "journalctl --no-pager --unit docker --lines 400",
    "host/journal-warnings": "journalctl --no-pager --priority warning --lines 200",
    "host/journal-health": "journalctl --no-pager --unit chat-health --lines 50",
    "host/sysctl": "sysctl -a --pattern ^(net[.](core|ipv4[.](ip_|tcp_|conf[.]all))|vm[.]|fs[.]file)",
    "host/time": "timedatectl show",
    "host/time-sources": "chronyc -n tracking",
    "network/addresses": "ip -details address",
    "network/routes": "ip route",
    "network/sockets": "ss -tulpn",
    "network/firewall": "nft list ruleset",
    "docker/daemon.json": "cat /etc/docker/daemon.json",
    "docker/version": "docker version",
    "docker/info": "docker info",
    "docker/containers": "docker ps --all --no-trunc",
    "docker/images": "docker image ls --digests",
    "docker/disk": "docker system df",
    "docker/usage": "docker stats --no-stream",
    "docker/networks": "docker network ls",
    "docker/volumes": "docker volume ls",
    "swarm/nodes": "docker node ls",
    "swarm/services": "docker service ls",
    "swarm/secrets": "docker secret ls",
    "swarm/configs": "docker config ls",
}
NATS_PATHS = ("/healthz", "/varz", "/jsz?streams=true&consumers=true&config=true&raft=true", "/connz", "/routez")
NODE_PATHS = ("/readyz", "/metrics")


def gather(stack: str, item_bytes: int, total_bytes: int) -> dict[str, str]:
    """Name of an item -> what it says, errors too. What does not fit any more is named and left out."""
    items: dict[str, Callable[[], str]] = {name: command(text) for name, text in COMMANDS.items()}
    items["docker/overlay"] = command(f"docker network inspect {stack}_chat-overlay")
    items["swarm/tasks"] = command(f"docker stack ps --no-trunc {stack}")
    items.update(of_containers(stack))
    deadline = time.monotonic() + TOTAL_S
    with ThreadPoolExecutor(max_workers=6) as pool:
        answers = {name: pool.submit(item) for name, item in items.items()}
        texts = {name: outcome(answer, deadline) for name, answer in answers.items()}
    return bounded(texts, item_bytes, total_bytes)


def of_containers(stack: str) -> dict[str, Callable[[], str]]:
    """The items of each container that is there: its log, what was inspected, what its service answers."""
    try:
        inspected = Engine().containers(stack, ended=True)
    except EngineError as error:
        return {"docker/error": lambda text=str(error): text}  # type: ignore[misc]
    items: dict[str, Callable[[], str]] = {}
    for item in inspected:
        row = container(item, stack)
        place = f"{row['service']}/{row['id'][:12]}"
        items[f"{place}.log"] = command(f"docker logs --timestamps --tail {LOG_LINES} {row['id']}")
        items[f"{place}.json"] = lambda item=item: json.dumps(item, indent=1)  # type: ignore[misc]
        if row["pid"]:
            node = row["service"].startswith("node")
            port, paths = (NODE_PORT, NODE_PATHS) if node else (NATS_MONITOR_PORT, NATS_PATHS)
            items.update({f"{row['service']}{name_of(path)}": question(row["pid"], port, path) for path in paths})
    return items


def name_of(path: str) -> str:
    return path.partition("?")[0]


def question(pid: int, port: int, path: str) -> Callable[[], str]:
    return lambda: in_network_of(pid, lambda: http_get("127.0.0.1", port, path, ITEM_S))


def command(text: str) -> Callable[[], str]:
    """A command that says on standard output what there is to know, and why not where it fails."""

    def run() -> str:
        done = subprocess.run(
            shlex.split(text),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=ITEM_S,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
        return said if done.returncode == 0 else f"{said}\n(`{text}` ended with {done.returncode})\n"

    return run


def outcome(answer: Future[str], deadline: float) -> str:
    """What an item says, or why it says nothing."""
    try:
        return answer.result(timeout=max(deadline - time.monotonic(), 0.1))
    except Exception as error:
        answer.cancel()
        return f"(no answer: {error or type(error).__name__})\n"


def bounded(texts: dict[str, str], item_bytes: int, total_bytes: int) -> dict[str, str]:
    """No more than fits, small items first. Of an item that is too long its end, where the newest is."""
    kept: dict[str, str] = {}
    left = total_bytes
    for name, text in sorted(texts.items(), key=lambda item: len(item[1])):
        if len(text) > item_bytes:
            text = f"(the last {item_bytes} of {len(text)} characters)\n{text[-item_bytes:]}"
        if len(text) > left:
            text = f"(left out: {len(text)} characters are more than still fit)\n"
        left -= min(len(text), left)
        kept[name] = text
    return kept
