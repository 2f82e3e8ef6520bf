"""What is asked of the Swarm and of the containers on this host."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError

from chat_backup.common import NODE_UID, Config, Failure, Json, complaint, run

RELEASE_LABEL = "chat.release"
STACK_LABEL = "chat.stack"
NAMESPACE_LABEL = "com.docker.stack.namespace"
SERVICE_LABEL = "com.docker.swarm.service.name"
CONFINED = ("--read-only", "--cap-drop", "ALL")
"""As the stack runs the node."""
NO_NETWORK = ("--network", "none")
EXPORT_TIMEOUT_S = 3600.0
STOP_TIMEOUT_S = 120.0
LOOK_LINES = 2000
NO_LOG_YET = ("is gone, or was not made", "is not finished")
"""What the node says of a log that was never begun, and of one in which an import was broken off."""
PROBE_USER = "probe"


class Cluster:
    """One stack, as seen from a manager."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = config.stack_name

    def is_leader(self) -> bool:
        """Whether this host leads the Swarm: of several managers with the same timer one acts."""
        return run("docker", "node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}").strip() == "true"

    def container(self, kind: str) -> str:
        """The container on this host of a service of a kind, ``node`` or ``nats``; raises Failure if none runs."""
        template = '{{.ID}} {{.Label "' + SERVICE_LABEL + '"}}'
        listed = run("docker", "ps", "--filter", f"label={NAMESPACE_LABEL}={self._stack}", "--format", template)
        for line in listed.splitlines():
            identity, _, service = line.partition(" ")
            if re.fullmatch(rf"{re.escape(self._stack)}_{kind}[0-9]+", service):
                return identity
        raise Failure(f"no {kind} of {self._stack} runs on this host: playbooks/verify.yml tells more")

    def readiness(self) -> Json:
        """What the node on this host says of itself; raises Failure if it is not ready."""
        url = f"http://127.0.0.1:{self._config.http_port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                said: Json = json.load(answer)
                return said
        except HTTPError as error:
            reason = json.load(error).get("reason", "")
            raise Failure(f"the node on this host is not ready ({reason}), so its log is not read now") from None
        except (URLError, OSError, ValueError) as error:
            raise Failure(f"the node on this host does not answer at {url}: {error}") from None

    def export(self, path: Path) -> None:
        """Write the log to a file, by the node on this host."""
        command = ["docker", "exec", self.container("node"), "chat-node", "export", "-"]
        with path.open("wb") as file:
            _stream(command, file, "the log could not be exported")
        path.chmod(0o444)

    def once(self, *arguments: str, file: Path, scratch: Path, reach: Sequence[str] = NO_NETWORK) -> str:
        """Run something once in the node's image, on one file; returns what it wrote.

        Args:
            file: will be ``/in/chat.jsonl``.
            scratch: will be its ``/data``.
            reach: Docker options for what it may reach.
        """
        return run(
            "docker", "run", "--rm", *CONFINED,
            "--user", f"{NODE_UID}:{NODE_UID}", "--tmpfs", "/tmp", "--env", "TMPDIR=/data", "--env", "DATA_DIR=/data",  # noqa: S108
            "--volume", f"{file}:/in/chat.jsonl:ro", "--volume", f"{scratch}:/data", *reach,
            "--entrypoint", arguments[0], self.image(), *arguments[1:],
            timeout_s=EXPORT_TIMEOUT_S,
        )  # fmt: skip

    def image(self) -> str:
        """The image of the nodes, as the current services have it."""
        return str(self._node_service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])

    def log_options(self, scratch: Path) -> tuple[str, ...]:
        """Docker options with which a container reaches the log by the log server on this host, nodes or not.

        The overlay network admits no other containers, so this one shares the server's place in it.
        """
        server = self.container("nats")
        user, password = credentials(run("docker", "exec", server, "/bin/busybox", "cat", "/etc/nats/auth.conf"))
        secret = scratch.parent / "nats-password"
        secret.write_text(password)
        secret.chmod(0o444)
        environment = self._node_service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
        replicas = next(value for value in environment if value.startswith("NATS_REPLICAS="))
        return (
            "--env", "NATS_URL=nats://127.0.0.1:4222", "--env", f"NATS_USER={user}", "--env", replicas,
            "--env", "NATS_PASSWORD_FILE=/run/nats-password", "--volume", f"{secret}:/run/nats-password:ro",
            "--network", f"container:{server}",
        )  # fmt: skip

    def target(self, scratch: Path) -> Json:
        """What is in the log now: ``count`` entries, and whether only the gates' probe ever wrote (``probes_only``)."""
        copy = scratch.parent / "target.jsonl"
        command = ["docker", "run", "--rm", *CONFINED, *self.log_options(scratch), self.image(), "export", "-"]
        try:
            with copy.open("wb") as file:
                _stream(command, file, f"the log of {self._stack} cannot be read")
        except Failure as failure:
            if any(sign in str(failure) for sign in NO_LOG_YET):
                return {"count": 0, "probes_only": True}
            raise
        with copy.open() as written:
            return judge(list(islice(written, LOOK_LINES)))

    def scale(self, kind: str, *, up: bool) -> None:
        """Start what the current release has of a kind of services, or stop all of them and wait for it."""
        services = {name: number for name, number in self._wanted().items() if re.fullmatch(rf"{kind}\d+", name)}
        wanted = {name: number if up else 0 for name, number in services.items()}
        run("docker", "service", "scale", "--detach", *(f"{self._stack}_{name}={n}" for name, n in wanted.items()))
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not up and self._tasks(wanted):
            if time.monotonic() > deadline:
                raise Failure(f"{', '.join(wanted)} did not stop within {STOP_TIMEOUT_S:g} s")
            time.sleep(1)

    def facts(self) -> Json:
        """The Swarm's state: what a new cluster is made like, and names of secrets, never their values."""
        return {
            "cluster": json.loads(run("docker", "info", "--format", "{{json .Swarm.Cluster}}")).get("ID"),
            "nodes": [node_facts(node) for node in self._inspect("node")],
            "secrets": sorted(item["Spec"]["Name"] for item in self._inspect("secret")),
            "configs": {
                item["Spec"]["Name"]: base64.b64decode(item["Spec"]["Data"]).decode()
                for item in self._labelled_configs()
                if RELEASE_LABEL not in item["Spec"]["Labels"]
            },
            "volumes": sorted(f"{self._stack}_{name}" for name in self.release()["stack"]["volumes"]),
        }

    def release(self) -> Json:
        """The current release, as the deployment recorded it."""
        releases = [item for item in self._labelled_configs() if RELEASE_LABEL in item["Spec"]["Labels"]]
        if not releases:
            raise Failure(f"no release of {self._stack} is recorded: deploy it first")
        newest = max(releases, key=lambda item: int(item["Spec"]["Labels"][RELEASE_LABEL]))
        content: Json = json.loads(base64.b64decode(newest["Spec"]["Data"]))
        return content

    def _wanted(self) -> dict[str, int]:
        services = self.release()["stack"]["services"]
        return {name: int(service.get("deploy", {}).get("replicas", 1)) for name, service in services.items()}

    def _tasks(self, services: dict[str, int]) -> bool:
        names = [f"{self._stack}_{name}" for name in services]
        return bool(run("docker", "service", "ps", "--quiet", *names).strip())

    def _node_service(self) -> Json:
        name = min(name for name in self._wanted() if name.startswith("node"))
        found: Json = json.loads(run("docker", "service", "inspect", f"{self._stack}_{name}"))[0]
        return found

    def _labelled_configs(self) -> list[Json]:
        return self._inspect("config", "--filter", f"label={STACK_LABEL}={self._stack}")

    def _inspect(self, kind: str, *filters: str) -> list[Json]:
        ids = run("docker", kind, "ls", "--quiet", *filters).split()
        found: list[Json] = json.loads(run("docker", kind, "inspect", *ids)) if ids else []
        return found


def node_facts(node: Json) -> Json:
    """Of what ``docker node inspect`` prints, what does not change by itself."""
    spec = node["Spec"]
    return {
        "hostname": node["Description"]["Hostname"],
        "role": spec["Role"],
        "availability": spec["Availability"],
        "labels": spec.get("Labels") or {},
        "engine": node["Description"]["Engine"]["EngineVersion"],
        "address": node.get("Status", {}).get("Addr", ""),
    }


def credentials(auth_conf: str) -> tuple[str, str]:
    """User and password of the nodes in the log servers' configuration."""
    found = re.search(r'user: *([\w-]+), *password: *"([^"]+)"', auth_conf)
    if found is None:
        raise Failure("the log server's auth.conf names no user and password")
    return found[1], found[2]


def judge(lines: list[str]) -> Json:
    """How many entries a log has, from the lines of its export, and whether all are the gates' probe's."""
    count = int(json.loads(lines[0])["count"])
    entries = [json.loads(line).get("entry") for line in lines[1 : count + 1]]
    probes_only = len(entries) == count and all(is_probe(entry) for entry in entries)
    return {"count": count, "probes_only": probes_only}


def is_probe(entry: Any) -> bool:
    """Whether an entry is of nobody but the gates' probe."""
    records = entry.get("records") if isinstance(entry, dict) else None
    return records is not None and all(record.get("user") == PROBE_USER for record in records)


def _stream(command: list[str], file: IO[bytes], failed: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=EXPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{failed} within {EXPORT_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise Failure(f"{failed}: {complaint(done.stderr.decode(errors='replace'))}")
