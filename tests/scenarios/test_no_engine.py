"""A machine on which no Docker engine can start is told why, and what goes without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT

LEFT_OUT = "LEFT OUT: the roles'"


@pytest.fixture
def no_engine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose engine ends at once."""
    program(tmp_path / "bin" / "dockerd", "echo 'failed to start daemon: no such luck'; exit 1")
    return {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{tmp_path}/none",
        "CI": "",
    }


@pytest.mark.timeout(120)
def test_an_engine_that_cannot_start(tmp_path: Path, no_engine: dict[str, str]) -> None:
    done = subprocess.run(
        [
            *("ansible-playbook", "-i", "localhost,", "tests/lab/engine.yml"),
            f"-elab_engine_log={tmp_path}/log",
            f"-elab_engine_pid_file={tmp_path}/run/dockerd.pid",
        ],
        cwd=ROOT,
        env=no_engine,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "No Docker engine can start on this machine" in done.stdout
    assert "no such luck" in done.stdout
    assert "`make node`" in done.stdout


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ci", ["", "true"])
def test_all_tests_without_an_engine(tmp_path: Path, no_engine: dict[str, str], ci: str) -> None:
    """`make test` does what it can, says loudly what it left out, and only the build server calls that a failure."""
    for tool in ("make", "pytest"):
        program(tmp_path / "bin" / tool, f"echo {tool} $@")
    shutil.copytree(ROOT / "tests" / "lab", tmp_path / "tests" / "lab")
    shutil.copy(ROOT / "tests" / "all", tmp_path / "tests" / "all")
    settings = tmp_path / "tests" / "lab" / "vars.yml"
    settings.write_text(
        settings.read_text().replace("/var/log/", f"{tmp_path}/").replace("/run/chat-lab", f"{tmp_path}")
    )

    done = subprocess.run(
        [tmp_path / "tests" / "all"], env={**no_engine, "CI": ci}, capture_output=True, text=True, check=False
    )
    assert "no such luck" in done.stdout, done.stdout
    assert LEFT_OUT in done.stdout
    assert "make check" in done.stdout
    assert "pytest -q --durations=15 tests/contract tests/node tests/browser\n" in done.stdout
    assert "make up" not in done.stdout
    assert done.returncode == (1 if ci else 0), done.stdout


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
