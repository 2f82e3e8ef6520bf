"""Scenarios need the lab; where it is not up they fail and say so."""

from __future__ import annotations

import pytest

from tests.scenarios.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab, all nodes ready."""
    found = Lab()
    assert (found.inventory / "hosts.yml").exists(), "there is no lab: run `make up` first"
    for host in found.hosts:
        found.wait_ready(host, timeout_s=60)
    return found
