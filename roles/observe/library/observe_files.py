#!/usr/bin/python
"""A set of small files, all in one go."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: observe_files
short_description: A set of small files, all in one go
description:
  - Like M(ansible.builtin.copy) for each of them, at the cost of one task. Other files in their directories stay.
author: [The chat-node authors]
options:
  files: {type: dict, required: true, description: "Absolute path -> content; null where there must be no file."}
"""

RETURN = """
written: {type: list, returned: always, description: Paths of the files that were not as wanted.}
"""


def main() -> None:
    module = AnsibleModule(argument_spec={"files": {"type": "dict", "required": True}}, supports_check_mode=True)
    before = {name: content_of(Path(name)) for name in module.params["files"]}
    wrong = {name: wanted for name, wanted in module.params["files"].items() if before[name] != wanted}
    if not module.check_mode:
        for name, wanted in wrong.items():
            write(Path(name), wanted)
    diff = [{"before_header": n, "after_header": n, "before": before[n] or "", "after": wrong[n] or ""} for n in wrong]
    module.exit_json(changed=bool(wrong), written=sorted(wrong), diff=diff)


def content_of(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def write(path: Path, content: str | None) -> None:
    """All of it or nothing: whoever reads meanwhile sees the old file or the new one."""
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(content)
    unfinished.chmod(0o644)
    os.replace(unfinished, path)


if __name__ == "__main__":
    main()
