"""A machine on which no Docker engine can start is told why, and what goes without one."""

from __future__ import annotations

import os
import re
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
    program(tmp_path / "bin" / "pytest", "echo pytest $@")
    done = all_tests(tmp_path, {**no_engine, "CI": ci})
    assert "no such luck" in done.stdout, done.stdout
    assert LEFT_OUT in done.stdout
    assert "make lint" in done.stdout
    assert "pytest -q --junitxml=.make/unit.xml -n 2 tests/unit\n" in done.stdout
    assert "--durations=15 tests/contract tests/node tests/browser\n" in done.stdout
    assert "make up" not in done.stdout
    times = re.search(r"\n(engine \d+ s.*)\n", done.stdout)
    assert times, done.stdout
    assert {told.split()[0] for told in times[1].split(", ")} == {"engine", "lint", "unit", "tools", "processes"}
    assert done.returncode == (1 if ci else 0), done.stdout


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("failed", "again", "code"), [(5, 0, 0), (1, 1, 1), (6, 0, 1)])
def test_the_few_that_failed_are_run_once_more(
    tmp_path: Path, no_engine: dict[str, str], failed: int, again: int, code: int
) -> None:
    """Once: what fails twice is wrong, and so is what fails in many places."""
    report = f'<testsuite errors="0" failures="{failed}" skipped="7" tests="9">'
    first = f"*/processes.xml*) echo '{report}' >.make/processes.xml; exit 1;;"
    program(tmp_path / "bin" / "pytest", f"case $* in *--last-failed*) exit {again};; {first} esac")
    done = all_tests(tmp_path, no_engine)
    assert done.returncode == code, done.stdout
    repeated = "processes-first" if failed <= 5 else "nothing"
    assert f"failed: {'processes' if code else 'nothing'}, repeated: {repeated} " in done.stdout


def all_tests(directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `make test` runs, with a make that only tells what it was asked for."""
    program(directory / "bin" / "make", "echo make $@")
    shutil.copytree(ROOT / "tests" / "lab", directory / "tests" / "lab")
    shutil.copy(ROOT / "tests" / "all", directory / "tests" / "all")
    settings = directory / "tests" / "lab" / "vars.yml"
    settings.write_text(
        settings.read_text().replace("/var/log/", f"{directory}/").replace("/run/chat-lab", f"{directory}")
    )
    return subprocess.run([directory / "tests" / "all"], env=environment, capture_output=True, text=True, check=False)


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
