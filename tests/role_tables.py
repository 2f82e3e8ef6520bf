"""Keeps the roles' variables told once: the specs say them, the defaults equal them, the READMEs list them.

``python tests/role_tables.py`` writes the tables; with ``--check`` it only says which are behind, and exits 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
SECRET = re.compile(r"(password|key|tokens)(_former)?$")
BEGIN, END = "<!-- variables -->", "<!-- end of variables -->"


def _text(description: str | list[str]) -> str:
    """A spec's description as Markdown, its ``C()`` and ``O()`` marks as code."""
    joined = " ".join([description] if isinstance(description, str) else description)
    return re.sub(r"\b[A-Z]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|").strip()


def _code(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    escaped = text.replace("|", "\\|")  # also in code a bar would end the table's cell (GitHub Flavored Markdown, 4.10)
    return f"`{escaped}`"


def table(options: dict[str, dict[str, Any]]) -> str:
    """The variables of one entry point as a Markdown table."""
    rows = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, option in options.items():
        default = "required" if option.get("required") else _code(option["default"]) if "default" in option else "-"
        rows.append(f"| `{name}` | {option['type']} | {default} | {_text(option['description'])} |")
    return "\n".join(rows)


def faults(role: Path, *, write: bool) -> list[str]:
    """What is wrong with a role's variables; the table is put right if ``write``."""
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    found = [
        f"{role.name}: {name} differs between defaults/main.yml and meta/argument_specs.yml"
        for name in sorted(defaults.keys() | specified.keys())
        if defaults.get(name) != specified.get(name)
    ]
    found += [
        f"{role.name}: {name} is a secret by its name: meta/argument_specs.yml wants no_log for it"
        for name, option in options.items()
        if SECRET.search(name) and not option.get("no_log")
    ]
    readme = role / "README.md"
    old = readme.read_text() if readme.exists() else ""
    new = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table(options)}\n{END}", old, flags=re.DOTALL)
    if BEGIN not in old or (new != old and not write):
        found.append(f"{role.name}: the README's table is behind: python tests/role_tables.py")
    elif new != old:
        readme.write_text(new)
    return found


def main() -> int:
    """Checks or writes all roles' tables."""
    roles = sorted(path.parents[1] for path in ROLES.glob("*/meta/argument_specs.yml"))
    found = [fault for role in roles for fault in faults(role, write="--check" not in sys.argv)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
