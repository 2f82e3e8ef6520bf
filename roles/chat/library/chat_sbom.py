#!/usr/bin/python
"""Tell what images are made of, as a CycloneDX document."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_sbom import document, exported

DOCUMENTATION = """
module: chat_sbom
short_description: Tell what images are made of
description:
  - Runs on a host with an engine. An image that it does not have is pulled. Nothing of an image is run.
author: [The chat-node authors]
options:
  name: {type: str, required: true, description: What the images make together.}
  version: {type: str, required: true, description: Its version.}
  images: {type: list, elements: str, required: true, description: "References, pinned by digest."}
"""

RETURN = """
sbom: {type: dict, returned: always, description: "CycloneDX 1.5; the same images make the same document."}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "images": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    images = sorted(set(module.params["images"]))
    try:
        pulled = [image for image in images if pull(module, image)]
        found = {image: exported(module.run_command, image) for image in images}
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(pulled), sbom=document(module.params["name"], module.params["version"], found))


def pull(module: AnsibleModule, image: str) -> bool:
    """Have the image on this host; returns whether it had to be pulled."""
    if module.run_command(["docker", "image", "inspect", image])[0] == 0:
        return False
    if module.check_mode:
        raise RuntimeError(f"This host does not have {image}, and --check pulls nothing.")
    code, _, error = module.run_command(["docker", "pull", "--quiet", image])
    if code:
        raise RuntimeError(f"This host cannot pull {image}: {error.strip()}")
    return True


if __name__ == "__main__":
    main()
