"""A further machine for the lab, and an inventory that has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.lab import LAB_NAME, Lab, run


class Elsewhere(Lab):
    """The lab by another inventory."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory


def add_spare(lab: Lab) -> None:
    """Let the lab have its hosts and a spare; what is there stays as it is."""
    first = lab.hosts["host1"]["ansible_host"].rpartition(".")[2]
    arguments = ("-e", f"lab_name={LAB_NAME}", "-e", f"lab_first_address={first}", "-e", "lab_spares=1")
    made = run("ansible-playbook", "-i", "localhost,", "tests/lab/hosts.yml", *arguments, timeout_s=300)
    assert made.returncode == 0, made.stdout[-3000:]


def wipe(host: str) -> None:
    """Take one of the lab's machines away, with all that it has."""
    run("docker", "rm", "--force", "--volumes", f"{LAB_NAME}-{host}")
    run("docker", "volume", "rm", f"{LAB_NAME}-{host}-docker")


@contextmanager
def spare_in(lab: Lab, directory: Path, change: Callable[[dict[str, Any]], None]) -> Iterator[Lab]:
    """The lab with a spare, host4, by a copy of its inventory whose ``hosts.yml`` was changed; the spare goes again."""
    add_spare(lab)
    copy = directory / "lab"
    shutil.copytree(lab.inventory, copy)
    content: dict[str, Any] = yaml.safe_load((copy / "hosts.yml").read_text())
    change(content)
    (copy / "hosts.yml").write_text(yaml.safe_dump(content))
    yield Elsewhere(copy)
    wipe("host4")
