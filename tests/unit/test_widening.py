"""Further replicas get their machines before a node's definition changes, so that the first one keeps its own."""

from __future__ import annotations

from typing import Any

import ansible.module_utils  # type: ignore[import-untyped]
import pytest

from tests.unit.test_roles import ROLES, load

ansible.module_utils.__path__.append(str(ROLES / "chat/module_utils"))
service = load("chat/library/chat_service.py")
Json = dict[str, Any]


class Docker:
    """A Swarm with one task that has its machine, and one more whenever a replica is asked for."""

    stack_name = "s"

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, *arguments: str) -> str:
        self.done.append(" ".join(arguments[-3:]))
        return ""

    def tasks(self, name: str) -> list[Json]:
        del name
        self.done.append("looked")
        return [{"DesiredState": "running", "NodeID": number} for number in ("a", "b")]

    def deploy(self, stack: Json) -> None:
        self.done.append(f"deployed {sorted(stack['services'])}")


@pytest.mark.parametrize(
    ("running", "wanted", "first"),
    [(1, 2, ["--replicas 2 s_node1", "looked"]), (2, 2, []), (2, 1, []), (0, 2, []), (None, 2, [])],
)
def test_only_more_of_what_runs_is_placed_first(running: int | None, wanted: int, first: list[str]) -> None:
    docker = Docker()
    before = None if running is None else {"Spec": {"Mode": {"Replicated": {"Replicas": running}}}}
    stack = {"version": "3.8", "services": {"node1": {"deploy": {"replicas": wanted}}}}
    service.act(docker, {"service": "node1", "stack": stack}, before)
    assert docker.done == [*first, "deployed ['node1']"]
