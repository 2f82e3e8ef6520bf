"""The edge in front of two nodes: who gets where, and what keeps its socket."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.sync.client import connect

from node.client import open_client
from tests.nats_cluster import free_ports
from tests.node.edge import EdgeProcess, caddy, make_root, trust
from tests.node.process import NodeProcess, until
from tests.unit.test_roles import ROLES, load

pytestmark = pytest.mark.timeout(120)
probe = load("edge/library/edge_probe.py")

ADDRESSES = {"near": "127.0.0.2", "far": "127.0.0.3"}
DRAIN_S = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def node_ports() -> tuple[int, int]:
    websocket, http = free_ports(2)
    return websocket, http


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, node_ports: tuple[int, int]) -> Iterator[dict[str, NodeProcess]]:
    """Two nodes on the same ports of two addresses. They share nothing: which one answered is all that matters."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                NodeProcess.running(
                    tmp_path_factory.mktemp(name),
                    node_id=name,
                    websocket_host=address,
                    http_host=address,
                    websocket_port=node_ports[0],
                    http_port=node_ports[1],
                    drain_timeout=DRAIN_S,
                )
            )
            for name, address in ADDRESSES.items()
        }


@pytest.fixture(scope="module")
def edge(
    tmp_path_factory: pytest.TempPathFactory, root: Path, node_ports: tuple[int, int], nodes: dict[str, NodeProcess]
) -> Iterator[EdgeProcess]:
    """The edge of the machine on which the node `near` is."""
    with EdgeProcess(
        tmp_path_factory.mktemp("edge"), root, node_ports, edge_nodes=list(ADDRESSES.values())
    ).running() as edge:
        assert set(nodes) == set(ADDRESSES)
        until(partial(certified, edge, "127.0.0.1", root))
        yield edge


@contextmanager
def lingering(edge: EdgeProcess, root: Path) -> Iterator[None]:
    """A client that stays, whatever its node tells it: so a drain takes its time."""
    with connect(edge.url, ssl=trust(root)) as link:
        link.send('{"op": "hello", "id": 1, "v": [1], "user": "dora"}')
        assert "error" not in str(link.recv(5))
        yield


async def node_of(edge: EdgeProcess, root: Path) -> str | None:
    """To which node a new client gets."""
    with trio.fail_after(30):
        async with open_client([edge.url], user="ana", ssl_context=trust(root)) as client:
            await client.whoami()
            return client.node


def test_people_get_the_page_and_nothing_of_the_operators(edge: EdgeProcess, root: Path) -> None:
    asked = probe.Edge("127.0.0.1", "127.0.0.1", trust(root), edge.https_port, edge.http_port)
    assert probe.probe([asked], 10) == []
    assert asked.expires


async def test_the_own_machine_s_node_is_preferred(edge: EdgeProcess, root: Path) -> None:
    assert {await node_of(edge, root) for _ in range(8)} == {"near"}


async def test_a_changed_configuration_keeps_sockets_open(edge: EdgeProcess, root: Path) -> None:
    async with open_client([edge.url], user="bo", ssl_context=trust(root)) as client:
        await client.create_room("reload")
        before = edge.configuration()
        await trio.to_thread.run_sync(lambda: edge.reload(edge_idle_timeout_s=77))
        assert edge.configuration() != before
        await client.send("reload", "still here")
        assert client.connects == 1
        assert await node_of(edge, root) == "near"


async def test_a_draining_node_gets_nobody_new(edge: EdgeProcess, root: Path, nodes: dict[str, NodeProcess]) -> None:
    near = nodes["near"]
    with lingering(edge, root):
        stopped = trio.Event()

        async def stop() -> None:
            assert await trio.to_thread.run_sync(near.stop) == 0
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.to_thread.run_sync(lambda: until(lambda: "draining" in near.output))
            assert [await node_of(edge, root) for _ in range(3)] == ["far"] * 3
            assert not stopped.is_set(), "it was gone before it could be asked"
    near.start()
    near.wait_serving()
    with trio.fail_after(10):
        while await node_of(edge, root) != "near":
            await trio.sleep(0.2)


async def test_a_client_comes_back_by_the_same_edge_when_its_node_is_killed(
    edge: EdgeProcess, root: Path, nodes: dict[str, NodeProcess]
) -> None:
    async with open_client([edge.url], user="cy", ssl_context=trust(root), ping_s=1) as client:
        await client.whoami()
        assert client.node == "near"
        nodes["near"].kill()
        with trio.fail_after(20):
            await trio.sleep(0.1)
            await client.whoami()
        assert client.node == "far"
    nodes["near"].start()
    nodes["near"].wait_serving()


def test_who_sends_half_a_request_is_dropped(tmp_path: Path, root: Path) -> None:
    strict = EdgeProcess(tmp_path / "edge", root, edge_nodes=["127.0.0.2"], edge_header_timeout_s=1)
    with strict.running(), socket.create_connection(("127.0.0.1", strict.http_port), timeout=10) as link:
        began = time.monotonic()
        link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        while link.recv(4096):
            pass
        assert 0.5 < time.monotonic() - began < 5


def test_headers_are_bounded_and_so_is_silence_between_requests(tmp_path: Path, root: Path) -> None:
    strict = EdgeProcess(tmp_path / "edge", root, edge_nodes=["127.0.0.2"], edge_idle_timeout_s=1)
    with strict.running():
        with socket.create_connection(("127.0.0.1", strict.http_port), timeout=10) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 32768 + b"\r\n\r\n")
            assert link.recv(4096).startswith(b"HTTP/1.1 431 ")
        with socket.create_connection(("127.0.0.1", strict.http_port), timeout=10) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert link.recv(4096).startswith(b"HTTP/1.1 308 ")
            began = time.monotonic()
            assert link.recv(4096) == b"", "it is kept for the next request, and then no more"
            assert 0.5 < time.monotonic() - began < 5


def test_two_machines_have_certificates_of_one_root(tmp_path: Path, root: Path) -> None:
    edges = [EdgeProcess(tmp_path / name, root, edge_nodes=["127.0.0.2"]) for name in ("one", "other")]
    with edges[0].running(), edges[1].running():
        for edge in edges:
            until(partial(certified, edge, "127.0.0.1", root))


NAMED = {"edge_names": ["chat.example.com"], "host_open_tcp_ports": [80, 443], "chat_allowed_origins": ""}


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"edge_names": []}, "Name what people type into their browsers"),
        ({"edge_certificates": "given"}, "edge_certificate is no certificate in PEM"),
        ({"host_open_tcp_ports": [8080]}, "keeps ports 80 and 443 shut"),
        ({"chat_allowed_origins": "https://old.example.com"}, "would refuse pages from https://chat.example.com"),
    ],
)
def test_what_cannot_work_is_refused_before_any_machine_is_asked(given: dict[str, Any], cause: str) -> None:
    secrets = {f"vault_{name}": "x" * 40 for name in ("chat_jwt_key", "chat_nats_password", "backup_password")}
    wanted = json.dumps({"edge_enabled": True, **NAMED, **secrets, **given})
    done = subprocess.run(
        ["ansible-playbook", "--inventory", "inventories/example", "playbooks/edge.yml", "--extra-vars", wanted],
        cwd=ROLES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert cause in said, said
    assert "Nothing was changed." in said


AUTHORITY = """
{{
	admin off
	skip_install_trust
	storage file_system {storage}
	http_port {ports[0]}
	https_port {ports[1]}
	default_sni 127.0.0.1
	pki {{
		ca local {{
			root {{
				format pem_file
				cert {root}
				key {root_key}
			}}
		}}
	}}
}}
https://127.0.0.1:{ports[1]} {{
	tls internal
	acme_server {{
		challenges http-01
	}}
}}
"""


def test_three_machines_behind_one_name_each_obtain_a_certificate(tmp_path: Path, root: Path) -> None:
    """The authority's challenges all come to the first machine, whoever asked for a certificate."""
    ports = free_ports(2)
    name = "chat.example.com"
    given: dict[str, Any] = {
        "edge_certificates": "acme",
        "edge_sites": [name],
        "edge_nodes": ["127.0.0.2"],
        "edge_acme_directory": f"https://127.0.0.1:{ports[1]}/acme/local/directory",
        "edge_root": "given",
    }
    edges = [EdgeProcess(tmp_path / f"edge{number}", root, **given) for number in range(3)]
    addresses = [f"127.0.0.1:{edge.http_port}" for edge in edges]
    config = AUTHORITY.format(storage=tmp_path / "ca", ports=ports, root=root, root_key=root.with_name("root_key.pem"))
    with ExitStack() as stack:
        stack.enter_context(caddy(tmp_path, config, http_proxy=f"http://{addresses[0]}"))
        for edge, address in zip(edges, addresses, strict=True):
            stack.enter_context(edge.running(edge_peers=[other for other in addresses if other != address]))
        for edge in edges:
            until(partial(certified, edge, name, root), 60)
        asking = http.client.HTTPConnection(addresses[0], timeout=10)
        asking.request("GET", "/.well-known/acme-challenge/nobodys", headers={"Host": name})
        assert asking.getresponse().status == 404


def certified(edge: EdgeProcess, name: str, root: Path) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", edge.https_port), timeout=10) as link:
            trust(root).wrap_socket(link, server_hostname=name).close()
    except OSError:
        return False
    return True
