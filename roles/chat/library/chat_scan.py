#!/usr/bin/python
"""Look the packages of a CycloneDX document up in vulnerability databases, and judge what is found."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_scan import (
    SEVERITIES,
    Finding,
    from_pip_audit,
    from_trivy,
    judge,
    merged,
    packages,
    read_allowed,
    remarks,
    requirements,
    table,
)

DOCUMENTATION = """
module: chat_scan
short_description: Look the packages of a CycloneDX document up in vulnerability databases
description:
  - Runs on the controller. Python packages are looked up by pip-audit; the others by Trivy, where it is on the PATH.
  - Fails if a database cannot be asked, but not for what is found.
author: [The chat-node authors]
options:
  sbom: {type: path, required: true, description: The document.}
  severity: {type: str, default: HIGH, choices: [LOW, MEDIUM, HIGH, CRITICAL], description: Refused from here on.}
  allowed: {type: list, elements: dict, default: [], description: "What is not refused: id, reason, expires."}
  osv_url: {type: str, required: true, description: Where pip-audit asks.}
"""

RETURN = """
findings: {type: list, returned: always, description: "id, aliases, package, version, fixed, severity, verdict..."}
lines: {type: list, returned: always, description: "The same for people."}
notes: {type: list, returned: always, description: What was not checked, and what is odd about the allow-list.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sbom": {"type": "path", "required": True},
            "severity": {"type": "str", "default": "HIGH", "choices": list(SEVERITIES)},
            "allowed": {"type": "list", "elements": "dict", "default": []},
            "osv_url": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    allowed, faults = read_allowed(module.params["allowed"])
    if faults:
        module.fail_json(msg=f"{'; '.join(faults)}. Nothing was changed.")
    today = datetime.now(UTC).date()
    sbom = json.loads(Path(module.params["sbom"]).read_text())
    try:
        found, notes = scan(module, sbom)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    rows = judge(found, allowed, module.params["severity"], today)
    module.exit_json(changed=False, findings=rows, lines=table(rows), notes=notes + remarks(found, allowed, today))


def scan(module: AnsibleModule, sbom: dict[str, Any]) -> tuple[list[Finding], list[str]]:
    """All findings, and what was not checked."""
    python = packages(sbom, "pypi")
    kinds = {"Debian packages": "deb", "Go modules": "golang", "npm packages": "npm"}
    others = {words: packages(sbom, kind) for words, kind in kinds.items()}
    found = pip_audit(module, python)
    trivy = module.get_bin_path("trivy")
    if trivy:
        return merged(found + ask_trivy(module, trivy)), []
    unchecked = ", ".join(f"{len(those)} {kind}" for kind, those in others.items() if those)
    return merged(found), [f"NOT CHECKED: {unchecked}. Trivy looks them up, and is not on the PATH here."] * bool(
        unchecked
    )


def pip_audit(module: AnsibleModule, pinned: list[tuple[str, str]]) -> list[Finding]:
    """What is known of exactly these Python packages."""
    if not pinned:
        return []
    with TemporaryDirectory(dir=module.tmpdir) as directory:
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
        command += [
            "--progress-spinner",
            "off",
            "--vulnerability-service",
            "osv",
            "--osv-url",
            module.params["osv_url"],
        ]
        for number, content in enumerate(requirements(pinned)):
            file = Path(directory, f"{number}.txt")
            file.write_text(content)
            command += ["--requirement", str(file)]
        _, output, error = module.run_command(command)
    try:
        # Its exit code is 1 for a finding and for a failure.
        found, skipped = from_pip_audit(output)
    except (KeyError, ValueError):
        raise RuntimeError(
            f"The Python packages could not be checked: pip-audit got no answer out of {module.params['osv_url']}: "
            f"{last_line(error)}. Is it up (chat_scan_osv_url), and pip-audit installed (`make .venv/.installed`)?"
        ) from None
    if skipped:
        raise RuntimeError(f"pip-audit could not check {', '.join(skipped)}.")
    return found


def ask_trivy(module: AnsibleModule, trivy: str) -> list[Finding]:
    """What Trivy knows of everything in the document."""
    command = [trivy, "sbom", "--quiet", "--format", "json", "--scanners", "vuln", module.params["sbom"]]
    code, output, error = module.run_command(command)
    try:
        if code:
            raise ValueError(code)
        return from_trivy(output)
    except (KeyError, ValueError):
        raise RuntimeError(f"Trivy could not check the images, exit code {code}: {last_line(error)}") from None


def last_line(error: str) -> str:
    return (error.strip().splitlines() or ["it said nothing"])[-1].rstrip(".")


if __name__ == "__main__":
    main()
