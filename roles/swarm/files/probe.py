"""Echo packets in an overlay network: `listen PORT`, or `ask PORT TIMEOUT_S ADDRESS...`.

`ask` sends each address a small packet and one that fills the interface's MTU with fragmentation forbidden, until both
were echoed or the time is up; it then names what did not arrive and exits with 1.
"""

import fcntl
import socket
import struct
import sys
import time

IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # <linux/in.h>; the socket module has no names for them
SIOCGIFMTU = 0x8921  # <linux/sockios.h>
IP_UDP_HEADERS_BYTES = 28
SMALL_BYTES = 64
RETRY_S = 0.5


def open_socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    sock.bind(("", port))
    return sock


def listen(port: int) -> None:
    sock = open_socket(port)
    while True:
        data, sender = sock.recvfrom(65536)
        sock.sendto(data, sender)


def overlay_mtu() -> int:
    """The smallest MTU of the container's interfaces: the overlay's, beside that of docker_gwbridge.

    By ioctl, which asks the network one is in; /sys shows that of whoever mounted it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        names = [name for _, name in socket.if_nameindex() if name.startswith("eth")]
        answers = [fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16s16x", name.encode())) for name in names]
    return min(struct.unpack_from("i", answer, 16)[0] for answer in answers)


def ask(port: int, timeout_s: float, addresses: list[str]) -> int:
    sock = open_socket(0)
    sock.settimeout(RETRY_S)
    missing = {(address, size) for address in addresses for size in (SMALL_BYTES, overlay_mtu() - IP_UDP_HEADERS_BYTES)}
    deadline = time.monotonic() + timeout_s
    while missing and time.monotonic() < deadline:
        for address, size in missing:
            sock.sendto(bytes(size), (address, port))
        try:
            while missing:
                data, sender = sock.recvfrom(65536)
                missing.discard((sender[0], len(data)))
        except TimeoutError:
            continue
    for address, size in sorted(missing):
        print(f"no answer from {address} to packets of {size} bytes")
    return 1 if missing else 0


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen(int(sys.argv[2]))
    sys.exit(ask(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
