"""The edge as a process: Caddy with the configuration that the role renders, on free ports of loopback."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ansible.module_utils  # type: ignore[import-untyped]
import jinja2
import yaml

from tests.nats_cluster import die_with_parent, free_ports
from tests.node.process import environment, program, until
from tests.unit.test_roles import ROLES, load

ROLE = ROLES / "edge"
# Its own way to what the docker client's modules share.
ansible.module_utils.__path__.append(str(ROLES / "chat/module_utils"))
authority = load("edge/library/edge_authority.py")


def role_variables() -> dict[str, Any]:
    """Defaults of the role, and those of its variables that are plain values."""
    found: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    found |= yaml.safe_load((ROLE / "vars/main.yml").read_text())
    return found


def caddyfile(**given: Any) -> str:
    """The configuration as the role renders it."""
    source = (ROLE / "templates/Caddyfile.j2").read_text()
    template = jinja2.Template(source, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    values: dict[str, Any] = role_variables() | {
        "edge_address": "127.0.0.1",
        "edge_sites": ["127.0.0.1"],
        "edge_peers": [],
    }
    text: str = template.render(
        {**values, "edge_authority": {"id": "edge-test"}, "edge_certificates": "internal", **given}
    )
    return text.replace("@fingerprint@", hashlib.sha256(text.encode()).hexdigest())


def make_root(directory: Path) -> Path:
    """The certificate of an authority, beside its key, as the role makes it."""
    made = subprocess.run(
        [*authority.MAKE, "/CN=a root of the tests"], capture_output=True, text=True, check=True
    ).stdout
    (directory / "root_key.pem").write_text(authority.pem("PRIVATE KEY", made))
    root = directory / "root.pem"
    root.write_text(authority.pem("CERTIFICATE", made))
    return root


@contextmanager
def caddy(directory: Path, configuration: str, **settings: object) -> Iterator[Path]:
    """Caddy while the block runs; the file into which it writes its log."""
    config, output = directory / "Caddyfile", directory / "output"
    config.write_text(configuration)
    with output.open("wb") as log:
        process = subprocess.Popen(
            [program("caddy"), "run", "--config", config, "--adapter", "caddyfile"],
            env=environment(home=directory, **settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
    try:
        until(lambda: process.poll() is not None or "serving initial configuration" in output.read_text())
        assert process.poll() is None, output.read_text()
        yield output
    finally:
        process.kill()
        process.wait()


class EdgeProcess:
    """Caddy in front of nodes that all listen on the same two ports, each on an address of its own.

    Args:
        directory: of this edge alone.
        root: certificate of the authority; its key is beside it.
        node_ports: WebSocket and HTTP.
        given: variables of the role.
    """

    def __init__(self, directory: Path, root: Path, node_ports: tuple[int, int] = (1, 1), **given: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.https_port, self.http_port, self._state_port = free_ports(3)
        inside = {
            "http": self.http_port,
            "https": self.https_port,
            "state": self._state_port,
            "node_websocket": node_ports[0],
            "node_http": node_ports[1],
            "socket": directory / "admin.sock",
            "storage": directory / "data",
            "root": root,
            "root_key": root.with_name("root_key.pem"),
            "acme_root": root,
        }
        self._given = given | {"edge_inside": role_variables()["edge_inside"] | inside}

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.https_port}/ws"

    @contextmanager
    def running(self, **given: Any) -> Iterator[EdgeProcess]:
        """The edge while the block runs, with further variables."""
        self._given |= given
        with caddy(self._directory, caddyfile(**self._given)):
            yield self

    def reload(self, **changed: Any) -> None:
        """Take another configuration into use, as the role does."""
        config, address = self._directory / "Caddyfile", f"unix/{self._directory / 'admin.sock'}"
        config.write_text(caddyfile(**self._given, **changed))
        done = subprocess.run(
            [program("caddy"), "reload", "--config", config, "--adapter", "caddyfile", "--address", address],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def configuration(self) -> str:
        """What it tells of the configuration in use."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._state_port}/", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


def trust(root: Path) -> ssl.SSLContext:
    """What a client needs that trusts an authority."""
    return ssl.create_default_context(cafile=str(root))
