"""The lock, the window and the records: one of two succeeds, and nothing is called a change that is none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.unit.test_roles import load

guard_note = load("guard/library/guard_note.py")
guard = load("guard/filter_plugins/guard.py")


class Swarm:
    """The config objects of a Swarm, as the docker client shows them."""

    def __init__(self) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        self.taken_meanwhile: dict[str, Any] | None = None

    def run(self, command: list[str], data: str | None = None) -> tuple[int, str, str]:
        _, _, verb, *rest = command
        if verb == "create" and self.taken_meanwhile is not None:
            self._add(rest, json.dumps(self.taken_meanwhile))
        if verb == "create":
            return self._add(rest, data or "")
        if verb == "ls":
            wanted = {word.removeprefix("label=") for word in rest if word.startswith("label=")}
            return 0, "\n".join(name for name, item in self.configs.items() if wanted <= item["labels"]), ""
        if verb == "inspect":
            return 0, json.dumps([self._inspected(name) for name in rest]), ""
        del self.configs[rest[0]]
        return 0, "", ""

    def _add(self, rest: list[str], data: str) -> tuple[int, str, str]:
        *labels, name, _ = rest
        if name in self.configs:
            return 1, "", "rpc error: code = AlreadyExists desc = config exists"
        self.configs[name] = {"labels": {w for w in labels if w != "--label"}, "data": data, "at": len(self.configs)}
        return 0, name, ""

    def _inspected(self, name: str) -> dict[str, Any]:
        item = self.configs[name]
        spec = {"Name": name, "Data": base64.b64encode(item["data"].encode()).decode()}
        return {"CreatedAt": f"{item['at']:09}", "Spec": spec}


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


def act(swarm: Swarm, kind: str, state: str, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    notes = guard_note.Notes(swarm.run, "chat-system", kind)
    parameters = {"name": "", "content": {}, "keep": 0, **more}
    found: dict[str, Any] = guard_note.act(notes, {"kind": kind, "state": state, **parameters}, check_mode)
    return found


def test_a_lock_is_taken_once(swarm: Swarm) -> None:
    ours, theirs = {"owner": "ana"}, {"owner": "bo"}
    assert act(swarm, "lock", "taken", content=ours) == {"changed": True, "mine": True, "notes": [ours]}
    assert act(swarm, "lock", "taken", content=ours)["mine"] is True
    assert act(swarm, "lock", "taken", content=theirs) == {"changed": False, "mine": False, "notes": [ours]}


def test_of_two_who_try_at_the_same_time_one_succeeds(swarm: Swarm) -> None:
    swarm.taken_meanwhile = {"owner": "bo"}
    assert act(swarm, "lock", "taken", content={"owner": "ana"}) == {
        "changed": True,
        "mine": False,
        "notes": [{"owner": "bo"}],
    }


def test_a_released_lock_can_be_taken(swarm: Swarm) -> None:
    act(swarm, "lock", "taken", content={"owner": "ana"})
    assert act(swarm, "lock", "removed") == {"changed": True, "notes": []}
    assert act(swarm, "lock", "removed") == {"changed": False, "notes": []}
    assert act(swarm, "lock", "taken", content={"owner": "bo"})["mine"] is True


def test_only_the_lock_that_is_meant_is_released(swarm: Swarm) -> None:
    act(swarm, "lock", "taken", content={"run": "1", "owner": "ana"})
    assert act(swarm, "lock", "removed", content={"run": "2"})["changed"] is False
    assert act(swarm, "lock", "removed", content={"run": "1"}) == {"changed": True, "notes": []}


def test_records_are_kept_newest_first_to_go_last_and_are_no_change(swarm: Swarm) -> None:
    for number in range(5):
        assert not act(swarm, "audit", "taken", name=f"r{number}", content={"n": number}, keep=3)["changed"]
    assert act(swarm, "audit", "read")["notes"] == [{"n": 2}, {"n": 3}, {"n": 4}]


def test_stacks_and_kinds_do_not_see_each_other(swarm: Swarm) -> None:
    act(swarm, "lock", "taken", content={"owner": "ana"})
    assert act(swarm, "window", "read")["notes"] == []
    assert guard_note.Notes(swarm.run, "other", "lock").all() == []


@pytest.mark.parametrize("state", ["taken", "removed"])
def test_a_look_changes_nothing(swarm: Swarm, state: str) -> None:
    act(swarm, "lock", "taken", content={"owner": "ana"})
    act(swarm, "lock", state, check_mode=True, content={"owner": "bo"})
    assert act(swarm, "lock", "read")["notes"] == [{"owner": "ana"}]


def test_another_failure_of_docker_is_told() -> None:
    notes = guard_note.Notes(lambda *_, **__: (1, "", "Error: no quorum"), "chat-system", "lock")
    with pytest.raises(RuntimeError, match="no quorum"):
        notes.take("", {})


LOCK = {
    "owner": "ana@desk",
    "since": "2026-01-01T10:00:00Z",
    "expires": "2026-01-01T12:00:00Z",
    "verb": "deploy",
    "reason": "new colours",
}


def test_a_lock_tells_who_since_when_and_why() -> None:
    text = guard.lock_as_text(LOCK, guard.seconds("2026-01-01T11:00:00Z"))
    assert "ana@desk holds the lock since 2026-01-01T10:00:00Z for deploy, because: new colours." in text
    assert "most likely died" not in text


def test_a_lock_past_its_time_says_so() -> None:
    assert "most likely died" in guard.lock_as_text(LOCK, guard.seconds("2026-01-01T12:00:01Z"))
