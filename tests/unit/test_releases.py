"""What the chat role decides about releases, replicas and secrets, without a Swarm."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import jinja2
import pytest

from tests.unit.test_roles import ROLES, compose, live, load, stack, task

secrets = load("chat/module_utils/chat_secrets.py")


def config(number: int, **content: Any) -> dict[str, Any]:
    """A release as the Swarm's config object."""
    data = base64.b64encode(json.dumps({"release": number, **content}).encode()).decode()
    return {"Spec": {"Labels": {"chat.release": str(number)}, "Data": data}}


def scaled(level: str, replicas: int) -> dict[str, Any]:
    return {"services": {"a": {"environment": {"LOG_LEVEL": level}, "deploy": {"replicas": replicas}}}}


LEDGER = [
    config(7, stack=scaled("INFO", 2), version="v1"),
    config(8, stack=scaled("INFO", 1), version="v1"),
    config(9, stack=scaled("WARNING", 1), version="v2"),
    config(10, stack=scaled("DEBUG", 1), version="v1"),
    config(11, stack=scaled("DEBUG", 2)),
]


@pytest.mark.parametrize(
    ("wanted", "number"), [("current", 11), ("previous", 9), ("8", 8), ("9", 9), ("v2", 9), ("v1", 10)]
)
def test_a_release_is_found_by_its_place_its_number_or_its_version(wanted: str, number: int) -> None:
    assert stack.find_release(LEDGER, wanted)["release"] == number


def test_what_is_not_kept_is_told_with_what_is() -> None:
    with pytest.raises(RuntimeError, match=r"no release v3. Those kept: 11 \(no version\), 10 \(v1\)"):
        stack.find_release(LEDGER, "v3")
    with pytest.raises(RuntimeError, match=r"no release previous. Those kept: 8 \(v1\)"):
        stack.find_release(LEDGER[1:2], "previous")
    with pytest.raises(RuntimeError, match="no release previous"):
        stack.find_release(LEDGER[:2], "previous")


def test_the_way_back_leaves_as_many_replicas_as_there_are() -> None:
    back = stack.as_many_as({"services": {**scaled("INFO", 1)["services"], "gone": {}}}, scaled("DEBUG", 2))
    assert back["services"] == {**scaled("INFO", 2)["services"], "gone": {}}


def test_an_edit_reaches_the_services_in_scope_alone() -> None:
    before = stack.stamp(compose())
    edit = {"image": "i@sha256:2", "environment": {"LOG_LEVEL": "DEBUG", "HEARTBEAT_INTERVAL": 60}}
    after = stack.edited(before, edit, ["a"])
    assert after["services"]["b"] == before["services"]["b"]
    assert after["services"]["a"]["image"] == "i@sha256:2"
    # As text: a number would be another definition each time it is compared.
    assert after["services"]["a"]["environment"] == {"LOG_LEVEL": "DEBUG", "HEARTBEAT_INTERVAL": "60"}
    assert stack.release_of(after, "a") != stack.release_of(before, "a")


def test_scaling_leaves_the_stamp_of_the_tasks_that_run() -> None:
    before = stack.stamp(compose())
    after = stack.edited(before, {"replicas": 2}, ["a"])
    assert after["services"]["a"]["deploy"]["replicas"] == 2
    assert stack.release_of(after, "a") == stack.release_of(before, "a")
    assert stack.stamp(after) == after


def test_another_secret_is_another_definition() -> None:
    before, after = stack.stamp(compose("key-1")), stack.stamp(compose("key-2"))
    assert stack.release_of(before, "a") != stack.release_of(after, "a")
    running = {name: live() for name in "ab"}
    previous = {"stack": before, "specs": {name: stack.spec_hash(live()) for name in "ab"}}
    assert [change["service"] for change in stack.changes(after, previous, running)] == ["a", "b"]


def test_a_secret_filed_under_another_name_is_the_same() -> None:
    merged = stack.restrict(stack.stamp(compose("key-2")), stack.stamp(compose("key-1")), ["a"])
    assert stack.stamp(merged) == merged


def replicated(count: int) -> dict[str, Any]:
    service = live()
    service["Spec"]["Mode"] = {"Replicated": {"Replicas": count}}
    return service


@pytest.mark.parametrize(
    ("count", "tasks", "state"),
    [
        (2, [task("running")], "waiting"),
        (2, [task("running"), task("running")], "up"),
        (1, [task("running"), task("running")], "waiting"),
        (0, [task("running", "shutdown")], "waiting"),
        (0, [task("complete", "shutdown")], "up"),
        # A machine that is gone leaves a task that seems to run; the one that runs counts.
        (1, [task("running", "shutdown", image="i@sha256:0"), task("running")], "up"),
    ],
)
def test_as_many_as_are_wanted_are_up(count: int, tasks: list[dict[str, Any]], state: str) -> None:
    assert stack.verdict(replicated(count), tasks).state == state


def test_ends_of_before_do_not_count() -> None:
    ended = [{**task("failed", "shutdown"), "ID": str(number)} for number in range(3)]
    assert stack.verdict(live(), ended).state == "failed"
    assert stack.verdict(live(), ended, seen=frozenset("012")).state == "waiting"


def test_of_several_replicas_the_first_speaks() -> None:
    tasks = [{**task("running"), "Slot": slot} for slot in (2, 10, 1)]
    assert stack.verdict(replicated(3), tasks).task["Slot"] == 1


def secret(name: str, created: str = "2026") -> dict[str, Any]:
    return {"Spec": {"Name": name}, "CreatedAt": created}


def release(number: int, *names: str) -> dict[str, Any]:
    return {"release": number, "stack": {"secrets": {name: {"name": name} for name in names}}}


def test_who_needs_a_secret() -> None:
    service = live()
    service["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"] = [{"SecretName": "key-2"}]
    found = secrets.uses(
        [secret("key-1", "2026-01"), secret("key-2", "2026-02")],
        {"a": service, "b": live()},
        [release(3, "key-2"), release(2, "key-1", "key-2"), release(1, "key-1")],
    )
    assert found == [
        {"secret": "key-2", "created": "2026-02", "services": ["a"], "releases": [3, 2]},
        {"secret": "key-1", "created": "2026-01", "services": [], "releases": [2, 1]},
    ]


def test_releases_that_need_a_replaced_secret_retire() -> None:
    releases = [release(4, "key-2"), release(3, "key-2"), release(2, "key-1", "key-2"), release(1, "key-1")]
    assert [gone["release"] for gone in secrets.retired(releases)] == [2, 1]


@pytest.mark.parametrize(("server", "passwords"), [("node1", "211"), ("node2", "221"), ("node3", "222")])
def test_of_two_log_servers_the_later_one_knows_what_the_other_takes(server: str, passwords: str) -> None:
    """They are rolled in order and take the new password, 2, alone: the later one has to knock with it."""
    accounts = [{"user": f"chat-{n}", "password": f"p{n}", "route_password": f"r{n}"} for n in (2, 1)]
    template = jinja2.Template((ROLES / "chat/templates/auth.conf.j2").read_text(), trim_blocks=True)
    text = template.render(
        chat_nats_accounts=accounts, chat_node_types=["node1", "node2", "node3"], chat_auth_of=server
    )
    assert 'authorization { user: route, password: "r2"' in text
    assert re.findall(r"route:r(\d)@nats(\d):6222", text) == list(zip(passwords, "123", strict=True))
    assert text.count("user: chat-") == 2
