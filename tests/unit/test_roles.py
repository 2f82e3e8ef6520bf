"""What the roles swarm and chat decide, without a Swarm."""

from __future__ import annotations

import base64
import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLES = Path(__file__).resolve().parents[2] / "roles"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


stack = load("chat/module_utils/chat_stack.py")
chat = load("chat/filter_plugins/chat.py")
swarm = load("swarm/filter_plugins/swarm.py")


def compose(key: str = "key-1") -> dict[str, Any]:
    service = {"image": "i@sha256:1", "networks": {"net": {}}, "secrets": [{"source": "key", "target": "key"}]}
    return {
        "version": "3.8",
        "networks": {"net": {}},
        "volumes": {"a-data": {}, "b-data": {}},
        "secrets": {"key": {"name": key, "external": True}},
        "configs": {},
        "services": {
            name: {
                **copy.deepcopy(service),
                "deploy": {"replicas": 1},
                "volumes": [{"type": "volume", "source": f"{name}-data", "target": "/data"}],
            }
            for name in "ab"
        },
    }


def live(image: str = "i@sha256:1", **extra: Any) -> dict[str, Any]:
    return {"Spec": {"Name": "chat_a", "TaskTemplate": {"ContainerSpec": {"Image": image}, "ForceUpdate": 0}}, **extra}


def task(state: str, desired: str = "running", image: str = "i@sha256:1", error: str = "") -> dict[str, Any]:
    spec = {"ContainerSpec": {"Image": image, "DNSConfig": {}}, "ForceUpdate": 0}
    return {"Spec": spec, "DesiredState": desired, "Status": {"State": state, "Err": error}, "CreatedAt": "2026"}


def test_a_stamp_changes_with_its_service_alone() -> None:
    first, changed = compose(), compose()
    changed["services"]["a"]["image"] = "i@sha256:2"
    before, after = stack.stamp(first), stack.stamp(changed)
    assert stack.release_of(before, "a") != stack.release_of(after, "a")
    assert stack.release_of(before, "b") == stack.release_of(after, "b")


def test_a_slice_has_what_its_service_refers_to_and_no_more() -> None:
    part = stack.slice_of(compose(), ["a"])
    assert list(part["services"]) == ["a"]
    assert list(part["volumes"]) == ["a-data"]
    assert "configs" not in part


def test_services_out_of_scope_keep_their_own_secret() -> None:
    merged = stack.restrict(compose("key-2"), compose("key-1"), ["a"])
    names = {
        name: merged["secrets"][service["secrets"][0]["source"]]["name"] for name, service in merged["services"].items()
    }
    assert names == {"a": "key-2", "b": "key-1"}


@pytest.mark.parametrize(
    ("running", "known", "reason"),
    [
        ({}, True, "is not there"),
        ({"a": live()}, False, "has a new definition"),
        ({"a": live("i@sha256:9")}, True, "was changed by hand"),
    ],
)
def test_what_is_touched_and_why(running: dict[str, Any], known: bool, reason: str) -> None:
    wanted = {**compose(), "services": {"a": compose()["services"]["a"]}}
    previous = {"stack": wanted, "specs": {"a": stack.spec_hash(live())}} if known else None
    assert stack.changes(wanted, previous, running) == [{"service": "a", "reason": reason}]


def test_a_forced_restart_is_no_change() -> None:
    before, forced = live(), live()
    before["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"] = [{"Target": "/data"}, {"Target": "/x"}]
    forced["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"] = [{"Target": "/x"}, {"Target": "/data"}]
    forced["Spec"]["TaskTemplate"]["ForceUpdate"] = 3
    wanted = {**compose(), "services": {"a": compose()["services"]["a"]}}
    assert stack.changes(wanted, {"stack": wanted, "specs": {"a": stack.spec_hash(before)}}, {"a": forced}) == []


@pytest.mark.parametrize(
    ("update", "tasks", "state"),
    [
        (None, [task("running")], "up"),
        (None, [task("running", image="i@sha256:0")], "waiting"),
        (None, [task("starting"), task("failed", "shutdown")], "waiting"),
        (None, [task("failed", "shutdown")] * 3, "failed"),
        ({"State": "updating", "StartedAt": "2"}, [task("running")], "waiting"),
        ({"State": "completed", "StartedAt": "2"}, [task("running")], "up"),
        ({"State": "rollback_completed", "StartedAt": "2"}, [task("running")], "failed"),
        ({"State": "paused", "StartedAt": "2"}, [task("running")], "failed"),
        # That rollback was of an earlier deployment.
        ({"State": "rollback_completed", "StartedAt": "1"}, [task("running")], "up"),
    ],
)
def test_the_verdict(update: dict[str, str] | None, tasks: list[dict[str, Any]], state: str) -> None:
    assert stack.verdict(live(UpdateStatus=update), tasks, stale_update="1").state == state


def test_the_errors_of_tasks_are_told_once() -> None:
    assert stack.task_errors([task("failed", error="exit 2")] * 2 + [task("running")]) == ["failed: exit 2"]


def test_the_newest_release_is_the_one_with_the_highest_number() -> None:
    def config(number: int) -> dict[str, Any]:
        data = base64.b64encode(json.dumps({"release": number}).encode()).decode()
        return {"Spec": {"Labels": {"chat.release": str(number)}, "Data": data}}

    assert stack.latest([config(9), config(10), config(2)]) == {"release": 10}
    assert stack.latest([]) is None


def test_the_first_manager_that_answers() -> None:
    def answer(name: str, **swarm_info: Any) -> dict[str, Any]:
        return {"item": name, "rc": 0, "stdout": json.dumps(swarm_info)}

    answers = [
        {"item": "gone", "unreachable": True},
        {"item": "bare", "rc": 2, "stdout": ""},
        answer("worker", LocalNodeState="active", ControlAvailable=False),
        answer("first", LocalNodeState="active", ControlAvailable=True),
        answer("second", LocalNodeState="active", ControlAvailable=True),
    ]
    assert swarm.first_manager(answers)["name"] == "first"
    assert swarm.first_manager(answers[:3]) == {}


def test_label_arguments_remove_the_stale_and_add_the_changed() -> None:
    arguments = swarm.label_arguments({"old": "1", "zone": "a", "same": "1"}, {"zone": "b", "same": 1})
    assert arguments == ["--label-rm=old", "--label-add=zone=b"]


@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        ([("node1", "ready", "active")], None),
        ([], "no machine"),
        ([("node1", "down", "active")], "down and active"),
        ([("node1", "ready", "drain")], "ready and drain"),
        ([("node1", "ready", "active")] * 2, "2 machines"),
    ],
)
def test_a_service_without_its_one_ready_machine(nodes: list[tuple[str, str, str]], fault: str | None) -> None:
    inspected = [
        {
            "Description": {"Hostname": "h"},
            "Spec": {"Labels": {"node_type": label}, "Availability": availability},
            "Status": {"State": state},
        }
        for label, state, availability in nodes
    ]
    faults = chat.placement_faults(inspected, {"node1": 1})
    assert not faults if fault is None else fault in faults[0]


def test_only_what_has_machines_of_its_own_is_placed() -> None:
    services = {
        "node1": {"deploy": {"replicas": 2, "placement": {"constraints": ["node.labels.node_type == node1"]}}},
        "node2": {"deploy": {"placement": {"constraints": ["node.labels.node_type == node2"]}}},
        "nats1": {"deploy": {"replicas": 1, "placement": {"constraints": ["node.labels.log_server == nats1"]}}},
    }
    assert chat.replicas_of(services, ["node1", "node2", "nats1", "gone"]) == {"node1": 2, "node2": 1}
    assert chat.replicas_of(services, ["node2"]) == {"node2": 1}


def test_names_and_tags_follow_the_content(tmp_path: Path) -> None:
    assert chat.names_by_content({"k": "1"}, "s") == chat.names_by_content({"k": "1"}, "s")
    assert chat.names_by_content({"k": "1"}, "s") != chat.names_by_content({"k": "2"}, "s")

    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "a.py").write_text("1")
    first = chat.tree_hash(str(tmp_path), ["node"])
    (tmp_path / "node" / "__pycache__").mkdir()
    (tmp_path / "node" / "__pycache__" / "a.pyc").write_text("x")
    (tmp_path / "node" / "node_modules").mkdir()
    (tmp_path / "node" / "node_modules" / "a.js").write_text("fetched anew in the image")
    assert chat.tree_hash(str(tmp_path), ["node"]) == first
    (tmp_path / "node" / "a.py").write_text("2")
    assert chat.tree_hash(str(tmp_path), ["node"]) != first


def test_a_failure_is_told_by_its_first_failed_item() -> None:
    result = {
        "msg": "One or more items failed",
        "results": [{"msg": "fine"}, {"failed": True, "msg": "no", "stderr": "why"}],
    }
    assert load("../plugins/filter/failure.py").failure_as_text(result) == "no\nwhy"
