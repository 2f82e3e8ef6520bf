#!/usr/bin/python
"""Have a certificate authority for the edge, kept in the Swarm and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import STACK_LABEL, Docker

DOCUMENTATION = """
module: edge_authority
short_description: Have a certificate authority for the edge
description:
  - Runs on a manager. Where the Swarm has no root yet, makes one. Its key becomes a secret without ever being in a
    file, and the certificate a config, both under names with a hash of the certificate.
  - A root whose key is gone is not used; another is made.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the edge's stack.}
"""

RETURN = """
certificate: {type: str, returned: always, description: "The root in PEM; empty in check mode where there is none yet."}
id: {type: str, returned: always, description: A name of the authority that no other root has.}
root: {type: str, returned: always, description: The config that holds the certificate.}
root_key: {type: str, returned: always, description: The secret that holds the key.}
"""

DAYS = 3650
HASH_CHARS = 12
MAKE = (
    f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days {DAYS} "
    "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign "
    "-keyout /dev/stdout -out /dev/stdout -subj"
).split()
PEM = "-----BEGIN {0}-----.*?-----END {0}-----\n"


def main() -> None:
    module = AnsibleModule(
        argument_spec={"stack_name": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        found = newest(docker)
        changed = found is None
        if found is None:
            found = described(docker.stack_name, "") if module.check_mode else make(module, docker)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, **found)


def described(stack_name: str, certificate: str) -> dict[str, str]:
    """What a root is called."""
    short = hashlib.sha256(certificate.encode()).hexdigest()[:HASH_CHARS] if certificate else "none"
    names = {"root": f"{stack_name}_root-{short}", "root_key": f"{stack_name}_root_key-{short}"}
    return {"certificate": certificate, "id": f"edge-{short}", **names}


def newest(docker: Docker) -> dict[str, str] | None:
    """The last root made whose key is there as well."""
    keys = {secret["Spec"]["Name"] for secret in docker.labelled("secret")}
    configs = sorted(docker.labelled("config"), key=lambda config: str(config["CreatedAt"]), reverse=True)
    roots = (described(docker.stack_name, _content(config)) for config in configs)
    return next((root for root in roots if root["root_key"] in keys), None)


def _content(config: dict[str, Any]) -> str:
    # What a module gives a command to read gets a line's end more.
    return base64.b64decode(config["Spec"]["Data"]).decode().rstrip() + "\n"


def make(module: AnsibleModule, docker: Docker) -> dict[str, str]:
    """A new root. The key first, so that a root without a key is only ever one that lost it."""
    code, out, err = module.run_command([*MAKE, "/O=chat/CN=Chat edge root"])
    if code != 0:
        raise RuntimeError(f"openssl made no certificate: {err.strip()}")
    key, certificate = pem("PRIVATE KEY", out), pem("CERTIFICATE", out)
    root = described(docker.stack_name, certificate)
    label = f"{STACK_LABEL}={docker.stack_name}"
    docker("secret", "create", "--label", label, root["root_key"], "-", stdin=key)
    docker("config", "create", "--label", label, root["root"], "-", stdin=certificate)
    return root


def pem(kind: str, text: str) -> str:
    """The first block of a kind."""
    block = re.search(PEM.format(kind), text, re.DOTALL)
    if block is None:
        raise RuntimeError(f"openssl printed no {kind.lower()}")
    return block[0]


if __name__ == "__main__":
    main()
