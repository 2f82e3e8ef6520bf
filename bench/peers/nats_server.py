"""nats-server with its WebSocket port open to anybody: becomes that program, once it has said the port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_CONFIG = """
listen: "127.0.0.1:-1"
websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}
ping_interval: "10m"
log_file: "{directory}/nats.log"
"""

directory = Path(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
(directory / "nats.conf").write_text(_CONFIG.format(port=port, directory=directory))
print(port, flush=True)
program = str(Path(sys.executable).with_name("nats-server"))
os.execv(program, [program, "-c", str(directory / "nats.conf")])  # noqa: S606 - itself, so that its pid is known
