"""ejabberd with rooms (MUC) that archive every message (MAM) in SQLite, as its documents recommend for one server.

It takes anybody (SASL ANONYMOUS), has no limits of rates, and tells nobody who comes and goes: all in its favour. The
first line it prints is its port: https://docs.ejabberd.im/admin/configuration/
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import time
from pathlib import Path

_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
_SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")
_START_TIMEOUT_S = 20.0
_CONFIG = """
hosts: [localhost]
loglevel: warning
auth_method: anonymous
anonymous_protocol: sasl_anon
allow_multiple_connections: true
default_db: sql
sql_type: sqlite
sql_database: {directory}/ejabberd.db
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /ws: ejabberd_http_ws
shaper: {{}}
shaper_rules: {{}}
access_rules: {{}}
modules:
  mod_mam:
    default: always
    assume_mam_usage: true
  mod_muc:
    access: all
    access_create: all
    access_persistent: all
    access_mam: all
    max_users: 20000
    min_message_interval: 0
    history_size: 0
    default_room_options:
      mam: true
      persistent: true
      presence_broadcast: []
"""


def main() -> None:
    """Become ejabberd, once it is known to answer."""
    directory = Path(sys.argv[1])
    port = _free_port()
    (directory / "ejabberd.yml").write_text(_CONFIG.format(directory=directory, port=port))
    with sqlite3.connect(directory / "ejabberd.db") as database:
        database.executescript(_SCHEMA.read_text())
    if os.fork() == 0:
        _announce(port)
    own = {"ERL_LIBS": str(_LIBRARIES), "HOME": str(directory)}
    own["EJABBERD_CONFIG_PATH"] = str(directory / "ejabberd.yml")
    files = ["-mnesia", "dir", f'"{directory}/mnesia"', "-ejabberd", "log_path", f'"{directory}/ejabberd.log"']
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.execvpe("erl", ["erl", "-noinput", *files, "-s", "ejabberd"], os.environ | own)  # noqa: S606 - keeps the pid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _announce(port: int) -> None:
    """Print the port once it is open."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                print(port, flush=True)
                break
        time.sleep(0.1)
    sys.exit()


if __name__ == "__main__":
    main()
