"""What may be done to nodes of the Swarm, when a window ends, what a watch makes of its samples."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.test_roles import load

nodes = load("swarm/module_utils/swarm_nodes.py")
sys.modules["ansible.module_utils.swarm_nodes"] = nodes
acting = load("swarm/library/swarm_node.py")
filters = load("swarm/filter_plugins/swarm.py")
maintenance = load("maintenance/filter_plugins/maintenance.py")
sampling = load("maintenance/module_utils/maintenance_sampling.py")
sys.modules["ansible.module_utils.maintenance_sampling"] = sampling
watching = load("maintenance/library/maintenance_watch.py")

NOW = 1_770_000_000.0
ALL_SERVE = {"node1": True, "node2": True, "node3": True}


def inspected(number: int, *, manager: bool = True, up: bool = True) -> dict[str, Any]:
    """A node as `docker node inspect` prints it."""
    reachability = {"Addr": f"10.0.0.{number}:2377", "Reachability": "reachable" if up else "unreachable"}
    return {
        "ID": f"id{number}",
        "Description": {"Hostname": f"host{number}"},
        "Spec": {
            "Role": "manager" if manager else "worker",
            "Availability": "active",
            "Labels": {"node_type": f"node{number}", "log_server": f"nats{number}"} if number < 4 else {},
        },
        "Status": {"State": "ready" if up else "down", "Addr": f"10.0.0.{number}"},
        **({"ManagerStatus": reachability} if manager else {}),
    }


def swarm(*down: int, managers: int = 3, workers: int = 0) -> list[Any]:
    numbers = range(1, managers + workers + 1)
    return [nodes.read(inspected(n, manager=n <= managers, up=n not in down)) for n in numbers]


def faults(there: list[Any], targets: list[int], step: str, silent: tuple[str, ...] = (), window: bool = False) -> str:
    serving = ALL_SERVE | dict.fromkeys(silent, False)
    return "; ".join(nodes.faults(there, [there[n - 1] for n in targets], step, serving, window))


def test_a_host_is_found_by_the_id_it_told_or_by_its_address_never_by_its_name() -> None:
    there = swarm()
    assert nodes.find(there, "anything", "id2", "10.9.9.9").id == "id2"
    assert nodes.find(there, "anything", "", "10.0.0.3").id == "id3"
    with pytest.raises(LookupError, match=r"host1 .* is no node of the Swarm; there are: host1 10.0.0.1 ready"):
        nodes.find(there, "host1", "id9", "10.0.0.1")


@pytest.mark.parametrize(
    ("there", "targets", "step", "refusal"),
    [
        (swarm(), [3], "demote", "2 managers survive no more failures than 1"),
        (swarm(), [2, 3], "demote", ""),
        (swarm(2), [1, 3], "demote", "0 of 1 managers would be reachable"),
        (swarm(workers=2), [4], "promote", "4 managers survive no more failures than 3"),
        (swarm(workers=2), [4, 5], "promote", ""),
        (swarm(5, workers=2), [4, 5], "promote", "host5 is down"),
        (swarm(3), [2], "restart", "1 of 3 managers would be reachable, and the Swarm needs 2"),
        (swarm(), [2], "restart", ""),
        (swarm(2), [2], "remove", ""),
        (swarm(2, 3), [2], "remove", "1 of 2 managers would be reachable"),
    ],
)
def test_the_managers_stay_a_majority_and_odd(there: list[Any], targets: list[int], step: str, refusal: str) -> None:
    found = faults(there, targets, step)
    assert refusal in found if refusal else not found


def test_two_of_three_chat_nodes_serve_unless_a_window_is_open() -> None:
    assert not faults(swarm(), [2], "drain")
    refusal = faults(swarm(), [2], "drain", silent=("node1",))
    assert "1 of 3 chat nodes would serve (node3), and 2 are the least; node1 does not serve now" in refusal
    assert not faults(swarm(), [2], "drain", silent=("node1",), window=True)
    assert not faults(swarm(), [1], "drain", silent=("node1", "node2")), "what does not serve may be drained"
    assert faults(swarm(), [1, 2], "drain")
    assert faults(swarm(), [2], "restart", silent=("node1",), window=True), "work in a window goes one at a time"
    assert faults(swarm(2), [2], "remove", silent=("node1", "node2"))
    assert not faults(swarm(workers=1), [4], "drain", silent=("node1",)), "no chat node is there"


def test_a_lost_host_is_a_node_that_the_inventory_has_no_host_for() -> None:
    found = filters.strangers([inspected(1), inspected(2, up=False)], ["id1", ""])
    assert found == [
        {
            "id": "id2",
            "hostname": "host2",
            "address": "10.0.0.2",
            "role": "manager",
            "state": "down",
            "node_type": "node2",
            "log_server": "nats2",
        }
    ]


def test_a_window_ends_when_the_operator_said() -> None:
    assert maintenance.ends("", "60", NOW, 1440) == NOW + 3600
    assert maintenance.ends("2026-02-02T03:00Z", "", NOW, 1440) == 1_770_001_200
    assert maintenance.ends("2026-02-02T03:00:30Z", "", NOW, 1440) == 1_770_001_230


@pytest.mark.parametrize(
    ("until", "minutes", "said"),
    [
        ("", "", "one of"),
        ("2026-02-02T03:00Z", "5", "one of"),
        ("", "0", "whole number"),
        ("", "soon", "whole number"),
        ("tomorrow", "", "a moment in UTC"),
        ("2026-02-31T03:00Z", "", "a moment in UTC"),
        ("2026-02-02T02:00Z", "", "later than now"),
        ("", "1441", "within 1440 minutes"),
    ],
)
def test_a_window_without_a_sensible_end_is_refused(until: str, minutes: str, said: str) -> None:
    with pytest.raises(maintenance.AnsibleFilterError, match=said):
        maintenance.ends(until, minutes, NOW, 1440)


def test_a_window_tells_whether_it_has_expired() -> None:
    window = {"owner": "ana@desk", "since": "2026-02-02T02:00:00Z", "until": "2026-02-02T02:50:00Z", "message": "disks"}
    assert "ana@desk opened a maintenance window" in maintenance.window_as_text(window, NOW)
    assert "expired" not in maintenance.window_as_text(window, NOW)
    assert "expired" in maintenance.window_as_text(window, NOW + 3600)
    assert "No maintenance window" in maintenance.window_as_text({}, NOW)


def sample(ready: bool = True, errors: int | None = 0, tasks: str = "a") -> Any:
    return sampling.Sample({"node1": ready}, {"node1": errors}, {"node1": set(tasks.split())})


def watched(*samples: Any, errors_per_minute: float = 5) -> dict[str, Any]:
    watch = sampling.Watch(samples[0])
    for one in samples[1:]:
        watch.add(one)
    report: dict[str, Any] = watch.report(60, errors_per_minute)
    return report


def test_a_quiet_watch_has_nothing_to_say() -> None:
    report = watched(sample(errors=7), sample(errors=7), sample(errors=9))
    assert report["regressions"] == []
    assert report["nodes"]["node1"] == {"not_ready": 0, "errors": 2, "restarts": 0}
    assert maintenance.watch_as_text(report)[1] == "node1: not ready in 0 of 3 samples, 2 errors, 0 restarts"


def test_a_watch_sees_a_node_that_was_not_ready_or_started_again() -> None:
    report = watched(sample(errors=7), sample(ready=False, errors=None, tasks="b"), sample(errors=1, tasks="a b"))
    assert report["regressions"] == ["node1 was started 1 times", "node1 was not ready in 1 of 3 samples"]
    assert report["nodes"]["node1"]["errors"] == 1, "the counter of a new process begins at 0"


def test_a_watch_sees_errors_above_what_is_allowed() -> None:
    assert watched(sample(errors=0), sample(errors=6))["regressions"] == [
        "node1 answered 6 requests with an error of its own"
    ]
    assert watched(sample(errors=0), sample(errors=6), errors_per_minute=6)["regressions"] == []


def test_errors_are_those_the_service_is_to_blame_for() -> None:
    metrics = (
        'chat_requests_refused_total{code="unavailable"} 3.0\n'
        'chat_requests_refused_total{code="no_room"} 40.0\n'
        'chat_requests_refused_total{code="internal"} 1.0\n'
    )
    assert sampling.errors_of(metrics) == 4


def test_a_watch_looks_as_often_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    fake = SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s))
    monkeypatch.setattr(watching, "time", fake)

    class Cluster:
        def sample(self) -> Any:
            clock[0] += 0.5
            return sample()

    found, took_s = watching.watch(Cluster(), 20, 2)
    assert (found.samples, took_s) == (11, 20.5)
    assert watching.watch(Cluster(), 0, 2)[0].samples == 1


class Docker:
    """The docker client of a manager of three; a change comes into effect at once."""

    def __init__(self) -> None:
        self.nodes = {f"id{number}": inspected(number) for number in (1, 2, 3)}
        self.changes: list[str] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        _, _, verb, *rest = command
        if verb == "ls":
            return 0, "\n".join(self.nodes), ""
        if verb == "inspect":
            return 0, json.dumps([self.nodes[node_id] for node_id in rest]), ""
        if verb == "ps":
            return 0, "Shutdown 2 seconds ago\n", ""
        self.changes.append(" ".join(command[2:]))
        node = self.nodes[rest[-1]]
        if verb == "update":
            node["Spec"]["Availability"] = rest[1]
        if verb == "demote":
            node["Spec"]["Role"] = "worker"
            del node["ManagerStatus"]
        if verb == "promote":
            node["Spec"]["Role"] = "manager"
            node["ManagerStatus"] = {"Reachability": "reachable"}
        return 0, "", ""


def act(docker: Docker, step: str, *names: str, check_mode: bool = False) -> dict[str, Any]:
    targets = [{"name": name, "node_id": name.replace("host", "id"), "address": ""} for name in names]
    parameters = {"targets": targets, "state": step, "window": False, "timeout_s": 1}
    module = SimpleNamespace(params=parameters, check_mode=check_mode)
    answer: dict[str, Any] = acting.run(module, acting.Swarm(docker.run, {}))
    return answer


def test_what_is_refused_is_not_even_begun() -> None:
    docker = Docker()
    with pytest.raises(RuntimeError, match=r"demote of host2 is refused: 2 managers .* Nothing was changed"):
        act(docker, "demote", "host2")
    assert docker.changes == []


def test_a_step_is_taken_once_and_a_look_takes_none() -> None:
    docker = Docker()
    assert act(docker, "drain", "host2", check_mode=True)["changed"] is True
    assert docker.changes == []
    assert act(docker, "drain", "host2")["nodes"][0]["availability"] == "drain"
    assert act(docker, "drain", "host2")["changed"] is False
    assert docker.changes == ["update --availability drain id2"]
    assert act(docker, "restart", "host1")["changed"] is False


def test_who_has_just_been_demoted_may_connect_anew_before_being_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    docker, clock = Docker(), [0.0]
    for node_id in ("id2", "id3"):
        docker.run(["docker", "node", "demote", node_id])
    down = docker.nodes["id3"]["Status"]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        down["State"] = "ready" if 2 < clock[0] < 10 else "down"

    monkeypatch.setattr(acting, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    sleep(0)
    assert act(docker, "promote", "host2", "host3")["changed"] is True
    assert docker.changes[2:] == ["promote id2", "promote id3"]
    for node_id in ("id2", "id3"):
        docker.run(["docker", "node", "demote", node_id])
    sleep(20)
    with pytest.raises(RuntimeError, match=r"host3 is down.* Nothing was changed"):
        act(docker, "promote", "host2", "host3")


def test_what_the_managers_have_not_decided_is_asked_again_and_what_they_refuse_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker = Docker()
    answers = [(1, "", "rpc error: code = DeadlineExceeded desc = context deadline exceeded")] * 2
    monkeypatch.setattr(acting, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda s: None))

    def run(command: list[str]) -> tuple[int, str, str]:
        return answers.pop(0) if command[2] == "update" and answers else docker.run(command)

    swarm = acting.Swarm(run, {})
    swarm.act(swarm.node("id2"), "drain", 1)
    assert docker.changes == ["update --availability drain id2"]
    answers[:] = [(1, "", "permission denied")] * 2
    with pytest.raises(RuntimeError, match="permission denied"):
        swarm.act(swarm.node("id3"), "drain", 1)
    assert len(answers) == 1


def test_a_manager_that_is_removed_is_demoted_first() -> None:
    docker = Docker()
    act(docker, "remove", "host3")
    assert docker.changes == ["demote id3", "rm --force id3"]
