"""A machine on which no Docker engine can start is told why, and what goes without one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT


@pytest.mark.timeout(120)
def test_an_engine_that_cannot_start(tmp_path: Path) -> None:
    engine = tmp_path / "dockerd"
    engine.write_text("#!/bin/sh\necho 'failed to start daemon: no such luck'\nexit 1\n")
    engine.chmod(0o755)
    done = subprocess.run(
        [
            *("ansible-playbook", "-i", "localhost,", "tests/lab/engine.yml"),
            f"-elab_engine_log={tmp_path}/log",
            f"-elab_engine_pid_file={tmp_path}/run/dockerd.pid",
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": f"unix://{tmp_path}/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "No Docker engine can start on this machine" in done.stdout
    assert "no such luck" in done.stdout
    assert "`make node`" in done.stdout
