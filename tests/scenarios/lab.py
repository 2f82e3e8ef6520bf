"""The lab as the scenarios see it: its hosts, their containers, its nodes, and the playbooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB_NAME = os.environ.get("LAB_NAME", "chat-lab")
STACK = "chat-system"


@dataclass(frozen=True)
class Play:
    """What a playbook's run came to. ``hosts`` is the recap: host -> counter -> number."""

    code: int
    output: str
    hosts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Changes on all hosts."""
        return sum(counters["changed"] for counters in self.hosts.values())


def run(*command: str, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout and return what it did; does not raise."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def playbook(name: str, *arguments: str, inventory: Path | None = None, timeout_s: float = 1200) -> Play:
    """Run a playbook as an operator would."""
    chosen = ("--inventory", str(inventory)) if inventory else ()
    done = run("ansible-playbook", *chosen, f"playbooks/{name}.yml", *arguments, timeout_s=timeout_s)
    recap = re.findall(r"^(\S+)\s+: (ok=.*)$", done.stdout, re.MULTILINE)
    hosts = {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counters)} for host, counters in recap}
    return Play(done.returncode, done.stdout + done.stderr, hosts)


class Lab:
    """The lab that ``make up`` made."""

    inventory = ROOT / "inventories" / "lab"
    signs_with = "jwt_key"
    """Which of the inventory's secrets signs tokens."""

    @cached_property
    def hosts(self) -> dict[str, dict[str, str]]:
        """Name of a host -> its variables."""
        done = run("ansible-inventory", "--inventory", str(self.inventory), "--list")
        variables = json.loads(done.stdout)["_meta"]["hostvars"]
        return {name: values for name, values in sorted(variables.items()) if "node_type" in values}

    @property
    def urls(self) -> list[str]:
        """Where the nodes are, node1 first."""
        return [f"ws://{values['ansible_host']}:8080/ws" for values in self.hosts.values()]

    def url(self, node: str) -> str:
        """Where one node is."""
        return next(f"ws://{v['ansible_host']}:8080/ws" for v in self.hosts.values() if v["node_type"] == node)

    def token(self, user: str) -> str:
        """A token, made as an operator makes it."""
        key = str(self.inventory / "secrets" / self.signs_with)
        return run("chat-node", "token", "--user", user, "--key-file", key).stdout.strip()

    def ssh(self, host: str, command: str, timeout_s: float = 60) -> str:
        """Run a command on a host as root; returns its output, raises if it failed."""
        done = run(
            "ssh",
            "-i", str(self.inventory / "secrets" / "ssh_key"),
            "-o", f"UserKnownHostsFile={self.inventory / 'known_hosts'}",
            "-o", "BatchMode=yes",
            f"deploy@{self.hosts[host]['ansible_host']}",
            f"sudo {command}",
            timeout_s=timeout_s,
        )  # fmt: skip
        assert done.returncode == 0, f"{host}: {command}: {done.stderr}"
        return done.stdout

    def environment(self, node: str) -> str:
        """The settings that the service of a node is deployed with, as JSON."""
        template = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}"
        return self.ssh("host1", f"docker service inspect {STACK}_{node} --format '{template}'")

    def readyz(self, host: str) -> dict[str, object]:
        """What the node on a host says of itself; {} when it does not answer."""
        probe = "curl --silent --max-time 2 http://127.0.0.1:9090/readyz || true"
        answer = self.ssh(host, f"sh -c '{probe}'")
        return json.loads(answer) if answer else {}

    def kill(self, host: str) -> None:
        """Take the whole machine away at once."""
        done = run("docker", "kill", f"{LAB_NAME}-{host}")
        assert done.returncode == 0, done.stderr

    def start(self, host: str) -> None:
        """Switch the machine on again."""
        done = run("docker", "start", f"{LAB_NAME}-{host}")
        assert done.returncode == 0, done.stderr

    def wait_ready(self, host: str, timeout_s: float = 180) -> float:
        """Wait until a host's node is ready; returns the seconds it took."""
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            try:
                if self.readyz(host).get("ready"):
                    return time.monotonic() - started
            except (AssertionError, subprocess.TimeoutExpired):
                pass  # the machine is not up yet
            time.sleep(0.5)
        raise AssertionError(f"{host} was not ready within {timeout_s} s")
