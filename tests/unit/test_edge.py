"""What the edge lets through, what its configuration comes to, and what it takes for a certificate."""

from __future__ import annotations

import datetime
import fnmatch
import json
import re
import subprocess
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.routing import Mount

from node.http import make_app
from node.metrics import Metrics
from node.web import pages
from tests.node.edge import authority, caddyfile, role_variables
from tests.node.process import program
from tests.unit.test_guard import Swarm
from tests.unit.test_roles import ROLES, load

edge = load("edge/filter_plugins/edge.py")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
PAGE_PATHS: list[str] = role_variables()["edge_page_paths"]


def is_public(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in PAGE_PATHS)


def test_every_file_of_the_page_is_public() -> None:
    static = pages.HERE / "static"
    files = {path.relative_to(static).as_posix() for path in static.rglob("*") if path.is_file()} - {"index.html"}
    files |= {f"{folder}/{name}" for folder, (_, names) in pages.LIBRARIES.items() for name in names}
    assert len(files) > 20
    assert [name for name in files if not is_public(f"/{name}")] == []
    assert is_public("/")
    assert is_public("/config.json")


def test_nothing_of_the_operators_is_public() -> None:
    app = make_app(dict, lambda: Metrics().registry, Mount("/api/v1", routes=[]))
    paths = {str(getattr(route, "path", "")) for route in app.routes}
    assert {"/livez", "/readyz", "/metrics", "/api/v1"} <= paths
    assert [path for path in paths if is_public(path) or is_public(f"{path}/x")] == []


def adapted(**given: Any) -> dict[str, Any]:
    """What Caddy understands of a configuration."""
    done = subprocess.run(
        [program("caddy"), "adapt", "--config", "-", "--adapter", "caddyfile"],
        input=caddyfile(edge_nodes=["node2", "node3", "node1"], **given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"level":"warn"' not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def found(tree: Any, handler: str) -> list[dict[str, Any]]:
    """All handlers of a kind in a configuration, in its order."""
    if isinstance(tree, list):
        return [item for branch in tree for item in found(branch, handler)]
    if not isinstance(tree, dict):
        return []
    own = [tree] if tree.get("handler") == handler else []
    return own + [item for branch in tree.values() for item in found(branch, handler)]


@pytest.mark.parametrize("mode", ["acme", "internal", "given"])
@pytest.mark.parametrize("bare", [True, False])
def test_caddy_understands_every_configuration(mode: str, bare: bool) -> None:
    more = {"edge_acme_email": "ops@example.com", "edge_acme_directory": "https://ca.example.com/dir", "edge_root": "x"}
    config = adapted(
        edge_certificates=mode,
        edge_sites=["chat.example.com", "chat1.example.com"],
        edge_peers=["192.0.2.12:80"],
        edge_access_log=not bare,
        **({} if bare else more),
    )
    sites = {name for match in re.findall(r'"host": (\[.*?\])', json.dumps(config)) for name in json.loads(match)}
    assert sites == {"chat.example.com", "chat1.example.com"}
    proxies = found(config, "reverse_proxy")
    assert len(proxies) == (3 if mode == "acme" else 2)
    to_nodes = [proxy for proxy in proxies if len(proxy["upstreams"]) == 3]
    assert [proxy["upstreams"][0]["dial"] for proxy in to_nodes] == ["node2:8080", "node2:9090"]
    assert {proxy["load_balancing"]["selection_policy"]["policy"] for proxy in to_nodes} == {"first"}
    assert to_nodes[0]["stream_close_delay"] == 24 * 3600 * 10**9


def test_the_firewall_is_as_it_was_where_nothing_is_limited_and_counts_where_it_is() -> None:
    environment = jinja2.Environment(trim_blocks=True)  # noqa: S701 - rules of a firewall, no page
    environment.tests["search"] = lambda value, pattern: re.search(pattern, value) is not None
    template = environment.from_string((ROLES / "host/templates/firewall.nft.j2").read_text())
    names = ("peer_addresses", "admin_sources", "peer_tcp_ports", "peer_udp_ports", "admin_tcp_ports")
    given: dict[str, Any] = {f"host_{name}": [] for name in names} | {"host_open_tcp_ports": [443]}
    assert "connections" not in template.render(**given, host_connection_limits={})
    rules = template.render(**given, host_connection_limits={443: 40}).splitlines()
    counting = [number for number, rule in enumerate(rules) if "ct count over 40" in rule]
    accepting = [number for number, rule in enumerate(rules) if "443" in rule and rule.endswith("accept")]
    # In both chains, for both versions of addresses, before anything is let in.
    assert len(counting) == 4
    assert counting[1] < accepting[0] < counting[2] < counting[3] < accepting[1]


# --- the authority ---


def module(swarms: dict[str, Swarm], *, check_mode: bool = False) -> SimpleNamespace:
    """An Ansible module's ways to the machine: a Swarm that is none, and a real openssl."""

    def run(command: list[str], data: str | None = None) -> tuple[int, str, str]:
        if command[0] == "docker":
            return swarms[command[1]].run(command, None if data is None else f"{data}\n")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return SimpleNamespace(run_command=run, check_mode=check_mode)


def test_an_authority_is_made_once_and_again_only_when_its_key_is_lost() -> None:
    swarms = {"secret": Swarm(), "config": Swarm()}
    docker = authority.Docker(module(swarms).run_command, "chat-edge")
    assert authority.newest(docker) is None
    made = authority.make(module(swarms), docker)
    assert authority.newest(docker) == made
    assert list(swarms["secret"].configs) == [made["root_key"]]
    key = swarms["secret"].configs[made["root_key"]]["data"]
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert edge.certificate_faults(made["certificate"], key, []) == []
    assert not [value for value in made.values() if "PRIVATE" in value]
    del swarms["secret"].configs[made["root_key"]]
    assert authority.newest(docker) is None


# --- a certificate that is given ---


def certificate(*names: str, days: int = 90) -> tuple[str, str]:
    """A certificate for names, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=days))
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    made = builder.add_extension(alternatives, critical=True).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM).decode(), private.decode()


@pytest.mark.parametrize("name", ["chat.example.com", "CHAT.example.com"])
@pytest.mark.parametrize("of", ["chat.example.com", "*.example.com"])
def test_a_certificate_for_the_name_is_good(name: str, of: str) -> None:
    assert edge.certificate_faults(*certificate(of), [name], NOW) == []


def test_what_is_wrong_with_a_certificate_is_told() -> None:
    good, key = certificate("chat.example.com")
    old, old_key = certificate("a.b.example.com", "*.example.org", days=0)
    assert edge.certificate_faults("", key, [], NOW) == ["edge_certificate is no certificate in PEM"]
    assert "no private key" in edge.certificate_faults(good, "x", [], NOW)[0]
    assert edge.certificate_faults(good, old_key, [], NOW) == [
        "edge_certificate_key is not the key of edge_certificate"
    ]
    assert edge.certificate_faults(old, old_key, ["b.example.com", "x.y.example.org"], NOW) == [
        "edge_certificate is good until 2026-11-01 00:00 UTC only",
        "edge_certificate is not for b.example.com",
        "edge_certificate is not for x.y.example.org",
    ]
