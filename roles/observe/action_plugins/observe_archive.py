"""Write texts into a tar.gz on this machine, with the secrets taken out.

An action and no module: what it packs is large, and is here already.
"""

from __future__ import annotations

import importlib
import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.action import ActionBase

ansible.module_utils.__path__.append(str(Path(__file__).parents[1] / "module_utils"))
observe_redact = importlib.import_module("ansible.module_utils.observe_redact")


class ActionModule(ActionBase):
    """`dest`: the file; `texts`: path in the archive -> text; `secrets`: what must not be in it."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, wanted = self.validate_argument_spec(
            {
                "dest": {"type": "path", "required": True},
                "texts": {"type": "dict", "required": True},
                "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            }
        )
        destination = Path(wanted["dest"]).absolute()
        return {
            "changed": False,
            "dest": str(destination),
            "bytes": pack(destination, wanted["texts"], wanted["secrets"]),
        }


def pack(destination: Path, texts: dict[str, str], secrets: list[str]) -> int:
    """Write the archive; returns its size in bytes."""
    root = destination.name.removesuffix(".tar.gz")
    # Only whoever asked for it may read it: it tells much about the machines.
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # also where there was such a file already
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in sorted(texts.items()):
            content = observe_redact.redact(str(text), secrets).encode()
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return destination.stat().st_size
