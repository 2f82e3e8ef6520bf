#!/usr/bin/python
"""Ask an edge as people will, and as they should not."""

from __future__ import annotations

import http.client
import socket
import ssl
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: edge_probe
short_description: Ask a machine's edge under each of its names
description:
  - The page is there, by a certificate that is trusted; what is for operators is not; HTTP leads to HTTPS. Asked again
    until all is so, or the time is up; then it fails with what is not.
author: [The chat-node authors]
options:
  address: {type: str, required: true, description: Of the machine.}
  names: {type: list, elements: str, required: true, description: Under which to ask.}
  root: {type: str, default: "", description: "The root to trust, in PEM. Empty for those that this machine trusts."}
  timeout_s: {type: int, default: 60, description: Seconds within which all has to be so.}
  https_port: {type: int, default: 443, description: Where the edge listens.}
  http_port: {type: int, default: 80, description: Where it leads to HTTPS.}
"""

RETURN = """
expires: {type: dict, returned: success, description: "name -> end of the certificate, as OpenSSL writes it."}
"""

PRIVATE = ("/metrics", "/readyz", "/livez", "/api/v1/openapi.json", "/app/../metrics", "//metrics", "/%6detrics")
REQUEST_TIMEOUT_S = 10.0
PAUSE_S = 1.0


class Edge:
    """One machine's edge under one name."""

    def __init__(self, address: str, name: str, context: ssl.SSLContext, https_port: int, http_port: int) -> None:
        self._address = address
        self._name = name
        self._context = context
        self._https_port = https_port
        self._http_port = http_port
        self.expires = ""

    def fault(self) -> str | None:
        """The first thing that is not as it should be."""
        try:
            return self._page_fault() or self._private_fault() or self._redirect_fault()
        except (OSError, http.client.HTTPException) as error:
            return f"https://{self._name}/ at {self._address}: {error}"

    def _page_fault(self) -> str | None:
        status, _ = self._ask("/", encrypted=True)
        return None if status == 200 else f"https://{self._name}/ at {self._address} answers {status}, and no page"

    def _private_fault(self) -> str | None:
        for path in PRIVATE:
            status, _ = self._ask(path, encrypted=True)
            if status != 404:
                return f"https://{self._name}{path} at {self._address} answers {status}; nobody should get there"
        return None

    def _redirect_fault(self) -> str | None:
        status, location = self._ask("/", encrypted=False)
        if (status, location) == (308, f"https://{self._name}/"):
            return None
        return f"http://{self._name}/ at {self._address} answers {status} and leads to {location or 'nowhere'}"

    def _ask(self, path: str, *, encrypted: bool) -> tuple[int, str]:
        """Status and Location. The machine is dialled by its address, whatever the name leads to."""
        port = self._https_port if encrypted else self._http_port
        link = socket.create_connection((self._address, port), timeout=REQUEST_TIMEOUT_S)
        if encrypted:
            link = self._context.wrap_socket(link, server_hostname=self._name)
            self.expires = str((link.getpeercert() or {}).get("notAfter", ""))
        connection = http.client.HTTPConnection(self._name, timeout=REQUEST_TIMEOUT_S)
        connection.sock = link
        try:
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", self._name)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location", "")
        finally:
            connection.close()


def probe(edges: list[Edge], timeout_s: float) -> list[str]:
    """What is still wrong when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        faults = [fault for edge in edges if (fault := edge.fault())]
        if not faults or time.monotonic() > deadline:
            return faults
        time.sleep(PAUSE_S)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "root": {"type": "str", "default": ""},
            "timeout_s": {"type": "int", "default": 60},
            "https_port": {"type": "int", "default": 443},
            "http_port": {"type": "int", "default": 80},
        },
        supports_check_mode=True,
    )
    asked = module.params
    context = ssl.create_default_context(cadata=asked["root"] or None)
    edges = {
        name: Edge(asked["address"], name, context, asked["https_port"], asked["http_port"]) for name in asked["names"]
    }
    faults = probe(list(edges.values()), asked["timeout_s"])
    if faults:
        module.fail_json(msg="; ".join(faults))
    module.exit_json(changed=False, expires={name: edge.expires for name, edge in edges.items()})


if __name__ == "__main__":
    main()
