"""Who reaches whom over the overlay, seen from the node that runs on a host.

The swarm role's probe runs in the network of a container that is there already, so that nothing is made and nothing is
left: no network, no image, no container.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.observe_engine import Engine, EngineError, in_network_of
from ansible.module_utils.observe_look import container

SIOCGIFMTU = 0x8921  # <linux/sockios.h>
CONNECT_S = 2.0
EXEC_S = 8.0
LISTEN_S = 12.0
PORTS = {"nats": 4222, "node": 9090}

Json = dict[str, Any]


def examine(stack: str, targets: dict[str, str], outside: list[str], script: str, port: int, ask_s: float) -> Json:
    """All that one host can tell.

    Args:
        targets: service -> its address in the overlay, of all services there are.
        outside: "host:port" that containers should reach; if there is none, the host's own router is pinged.
        script: the source of the probe.
        port: UDP port of the probe.
        ask_s: seconds after which a packet counts as lost.
    """
    try:
        rows = [container(item, stack) for item in Engine().containers(stack)]
        overlay = overlay_of(Engine().get(f"/networks/{stack}_chat-overlay"), stack)
    except EngineError as error:
        return {"error": str(error)}
    node = next((row for row in rows if row["service"].startswith("node") and row["pid"]), None)
    if node is None:
        return {"error": "no chat node runs here", "overlay": overlay}
    pid, began = node["pid"], time.monotonic()
    listener = probe(pid, script, "listen", str(port))
    try:
        others = {name: address for name, address in targets.items() if address not in node["addresses"].values()}
        found = {
            "overlay": overlay,
            "mtu": {"overlay": min(in_network_of(pid, mtus).values()), "host": mtu(default_link()["link"])},
            "names": {name: resolve(node["id"], name) for name in targets},
            "connects": {
                name: in_network_of(pid, connects(address, PORTS[name[:4]])) for name, address in others.items()
            },
            "way_out": way_out(node, outside),
            "lost": ask(pid, script, port, ask_s, [at for name, at in others.items() if name.startswith("node")]),
            "error": "",
        }
        # The others may have begun later.
        time.sleep(max(LISTEN_S - (time.monotonic() - began), 0))
    finally:
        listener.kill()
        listener.wait()
    return found


def overlay_of(network: Json, stack: str) -> Json:
    """What matters of an overlay network as inspected."""
    ends = network.get("Containers") or {}
    return {
        "subnet": ", ".join(part["Subnet"] for part in network["IPAM"]["Config"] or []),
        "encrypted": "encrypted" in (network.get("Options") or {}),
        "peers": sorted(peer["IP"] for peer in network.get("Peers") or []),
        "services": sorted(end["Name"].removeprefix(f"{stack}_").partition(".")[0] for end in ends.values()),
    }


def probe(pid: int, script: str, *arguments: str) -> subprocess.Popen[str]:
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ask(pid: int, script: str, port: int, ask_s: float, addresses: list[str]) -> list[str]:
    """What did not come back of packets to these addresses, small ones and as large as the MTU allows."""
    if not addresses:
        return []
    said, _ = probe(pid, script, "ask", str(port), str(ask_s), *addresses).communicate(timeout=ask_s + EXEC_S)
    return said.splitlines()


def resolve(container_id: str, name: str) -> list[str]:
    """The addresses that a container gets for a name."""
    found = in_container(container_id, "getent", "ahostsv4", name)
    return sorted({line.split()[0] for line in found.stdout.splitlines() if line})


def in_container(container_id: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "exec", container_id, *command], capture_output=True, text=True, timeout=EXEC_S, check=False
    )


def connects(host: str, port: int) -> Callable[[], str]:
    """How long a TCP connection takes, or why there is none."""

    def attempt() -> str:
        began = time.monotonic()
        try:
            socket.create_connection((host, port), CONNECT_S).close()
        except OSError as error:
            return f"failed: {error}"
        return f"{(time.monotonic() - began) * 1000:.1f} ms"

    return attempt


def way_out(node: Json, outside: list[str]) -> dict[str, str]:
    """Whether the node's container reaches what is beyond its host."""
    found = {}
    for place in outside:
        host, _, port = place.rpartition(":")
        found[place] = in_network_of(node["pid"], connects(host, int(port)))
    router = default_link()["router"]
    if not outside and router:
        pinged = in_container(node["id"], "ping", "-c", "1", "-W", "2", router)
        found[f"router {router}"] = "ok" if pinged.returncode == 0 else f"failed: {pinged.stdout.strip()[-200:]}"
    return found


def default_link() -> dict[str, str]:
    """The host's link to its router and the router's address. proc(5), /proc/net/route: addresses in host order."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        link, destination, router = line.split()[:3]
        if destination == "00000000":
            return {"link": link, "router": socket.inet_ntoa(struct.pack("=I", int(router, 16)))}
    return {"link": "lo", "router": ""}


def mtus() -> dict[str, int]:
    """Link -> MTU, of the network this is called in, without loopback."""
    return {name: mtu(name) for _, name in socket.if_nameindex() if name.startswith("eth")}


def mtu(link: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16s16x", link.encode()))
    return int(struct.unpack_from("i", answer, 16)[0])
