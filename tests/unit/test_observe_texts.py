"""What is read from hosts and shown: log lines without secrets, control groups, the network, the drift, the bundle."""

from __future__ import annotations

import importlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_observe import observe
from tests.unit.test_roles import ROLES, load

logs = importlib.import_module("ansible.module_utils.observe_logs")
redaction = importlib.import_module("ansible.module_utils.observe_redact")
host = importlib.import_module("ansible.module_utils.observe_host")
drift = importlib.import_module("ansible.module_utils.observe_drift")
look = importlib.import_module("ansible.module_utils.observe_look")
bundle = importlib.import_module("ansible.module_utils.observe_bundle")
files = load("observe/library/observe_files.py")
health = load("observe/files/health.py")

CANARY = "canary-5d41402abc4b2a76b9719d911017c592"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"  # noqa: S105 an example

JOINED = '{"level":"info","event":"joined","room_id":"general","user":"ana","timestamp":"2026-01-01T00:00:02Z"}'
LATE = '{"level":"warning","event":"a reader is slow","conn":"1"}'
NATS = "[1] 2026/01/01 00:00:01.000000 [ERR] no quorum"
LINES = [
    f"2026-01-01T00:00:01.000000000Z {NATS}\n",
    f"2026-01-01T00:00:02.000000000Z {JOINED}\n",
    f"2026-01-01T00:00:03.000000000Z {LATE}\n",
    "2026-01-01T00:00:04.000000000Z Traceback (most recent call last):\n",
]


@pytest.mark.parametrize(
    ("choice", "tail", "chosen"),
    [
        ({}, 0, [0, 1, 2, 3]),
        ({}, 2, [2, 3]),
        ({"grep": "sl.w"}, 0, [2]),
        ({"level": "WARNING"}, 0, [0, 2, 3]),
        ({"level": "error"}, 0, [0, 3]),
        ({"room_id": "general"}, 0, [1]),
        ({"room_id": "gen"}, 0, []),
        # The last of those that are wanted, and not the wanted ones of the last.
        ({"grep": "quorum"}, 1, [0]),
    ],
)
def test_lines_are_chosen(choice: dict[str, str], tail: int, chosen: list[int]) -> None:
    found = logs.choose(LINES, logs.Choice(**choice), tail)
    assert [line["at"] for line in found] == [LINES[index].split()[0] for index in chosen]


def test_lines_of_all_hosts_are_in_the_order_of_time() -> None:
    def of(service: str, *indexes: int) -> dict[str, Any]:
        chosen = logs.choose([LINES[i] for i in indexes], logs.Choice(), 0)
        return {"lines": [{"service": service} | line for line in chosen]}

    merged = observe.log_lines({"host1": of("node1", 1, 3), "host2": of("nats2", 0, 2), "host3": {"unreachable": True}})
    assert [(line["host"], line["service"]) for line in merged] == [("host2", "nats2"), ("host1", "node1")] * 2
    text = observe.log_text(merged, [])
    assert "2026-01-01T00:00:02.000 node1 INFO joined room_id=general user=ana" in text
    assert "ERROR no quorum" in text
    exported = [json.loads(line) for line in observe.log_export(merged, []).splitlines()]
    assert [line["at"][17:19] for line in exported] == ["01", "02", "03", "04"]


def test_hosts_that_say_nothing_are_named() -> None:
    answers = {"host1": {"lines": [], "error": ""}, "host2": {"unreachable": True, "msg": "no route"}}
    answers["host3"] = {"lines": [], "error": "connection refused"}
    assert observe.silent(answers) == ["host2: no route", "host3: connection refused"]


@pytest.mark.parametrize(
    "text",
    [
        f"the key is {CANARY}.",
        f"Authorization: Bearer {CANARY}",
        f'{{"nats_password": "{CANARY}"}}',
        f"RESTIC_PASSWORD={CANARY} restic backup",
        f"nats-route://route:{CANARY}@nats1:6222",
        f"docker swarm join --token SWMTKN-1-{CANARY} 10.0.0.1:2377",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"a token {TOKEN} in a line",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    known = [CANARY] if text.startswith("the key") else []
    found = redaction.redact(text, known)
    assert CANARY not in found
    assert TOKEN not in found
    assert "[secret]" in found


@pytest.mark.parametrize(
    "text",
    [
        "NATS_PASSWORD_FILE=/run/secrets/nats_password",
        '"event":"joined","room_id":"general"',
        "http://172.30.0.2:5000/chat-node@sha256:ca071e5476e0",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redaction.redact(text, ["short", ""]) == text


def test_each_line_of_a_known_secret_is_taken_out() -> None:
    assert (
        redaction.redact("old-key-0001 and new-key-0002", ["new-key-0002\nold-key-0001\n"]) == "[secret] and [secret]"
    )


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    groups = host.groups_of("4:memory:/docker/x\n3:cpuacct,cpu:/docker/x\n2:pids:/docker/x\n1:blkio:/docker/x\n")
    write(
        tmp_path,
        {
            "memory/docker/x/memory.usage_in_bytes": "1000\n",
            "memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/docker/x/memory.stat": "cache 500\ntotal_inactive_file 300\n",
            "pids/docker/x/pids.current": "4\n",
            "cpuacct/docker/x/cpuacct.usage": "2500000000\n",
            "blkio/docker/x/blkio.throttle.io_service_bytes": "8:0 Read 5\n8:0 Total 15\nTotal 15\n",
        },
    )
    assert host.levels(tmp_path, groups) == {"memory_bytes": 700, "limit_bytes": 0, "processes": 4}
    assert host.cpu_and_disk(tmp_path, groups) == {"cpu_s": 2.5, "disk_bytes": 15.0}


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    groups = host.groups_of("0::/system.slice/docker-x.scope\n")
    write(
        tmp_path / "system.slice/docker-x.scope",
        {
            "memory.current": "1000\n",
            "memory.max": "2000\n",
            "memory.stat": "anon 1\ninactive_file 100\n",
            "pids.current": "3\n",
            "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
            "io.stat": "8:0 rbytes=5 wbytes=7 rios=1 wios=1\n8:16 rbytes=1 wbytes=0\n",
        },
    )
    assert host.levels(tmp_path, groups) == {"memory_bytes": 900, "limit_bytes": 2000, "processes": 3}
    assert host.cpu_and_disk(tmp_path, groups) == {"cpu_s": 1.5, "disk_bytes": 13.0}


def test_rates_are_by_the_second_and_never_negative() -> None:
    before, after = {"cpu_s": 1.0, "in_bytes": 10.0, "x": 9.0}, {"cpu_s": 2.0, "in_bytes": 30.0, "x": 0.0, "new": 1.0}
    assert host.rates(before, after, 2.0) == {"cpu_percent": 50.0, "in_bytes_s": 10.0, "x": 0.0}


def test_metrics_are_added_up_over_their_labels() -> None:
    text = '# HELP x\nclosed_total{code="1000"} 2.0\nclosed_total{code="4001"} 3.0\nup 1.0\nx_bucket{le="1"} 4.0\n'
    assert look.metrics(text) == {"closed_total": 5.0, "up": 1.0}


def found(**changed: Any) -> dict[str, Any]:
    usual = {
        "error": "",
        "lost": [],
        "connects": {"nats2": "1.0 ms"},
        "names": {"node1": ["10.0.0.1"]},
        "way_out": {"router 10.1.1.1": "ok"},
        "mtu": {"overlay": 1450, "host": 1500},
        "overlay": {"subnet": "10.0.0.0/24", "encrypted": False, "peers": [], "services": []},
    }
    return usual | changed


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"error": "no chat node runs here"}, "no chat node runs here"),
        ({"lost": ["no answer from 10.0.0.2 to packets of 64 bytes"]}, "open 4789/udp"),
        ({"lost": ["no answer from 10.0.0.2 to packets of 1422 bytes"]}, "only large packets"),
        ({"connects": {"nats2": "failed: refused"}}, "nats2 failed: refused"),
        ({"names": {"node1": []}}, "the name node1 is unknown instead of 10.0.0.1"),
        ({"names": {"node1": ["10.9.9.9"]}}, "10.9.9.9 instead of 10.0.0.1"),
        ({"way_out": {"example.org:443": "failed: timed out"}}, "no way out"),
        ({"mtu": {"overlay": 1450, "host": 1400}}, "MTU is larger"),
    ],
)
def test_what_is_wrong_with_a_network(changed: dict[str, Any], told: str) -> None:
    report = observe.network_report({"host1": {"network": found(**changed)}}, {"node1": "10.0.0.1"})
    assert (report["level"], told in "\n".join(report["faults"])) == ("degraded" if told else "healthy", True)
    assert (told or "Everyone reaches everyone") in observe.observe_text.network(report)


def test_a_silent_host_is_named_in_the_network() -> None:
    report = observe.network_report({"host2": {"unreachable": True, "msg": "no route"}}, {})
    assert report["faults"] == ["host2 cannot be reached: no route"]


STACK: dict[str, Any] = {
    "secrets": {"key": {"name": "key-1"}},
    "configs": {},
    "services": {
        "node1": {
            "image": "i@1",
            "environment": {"LOG_LEVEL": "INFO", "PORT": 1},
            "secrets": [{"source": "key"}],
            "ports": [{"target": 8080, "published": 8080}],
            "read_only": True,
            "labels": {"chat.release": "abc"},
            "deploy": {
                "replicas": 1,
                "resources": {"limits": {"memory": "1G"}},
                "placement": {"constraints": ["a == b"]},
            },
        }
    },
}


def live() -> dict[str, Any]:
    return {
        "Spec": {
            "Labels": {"com.docker.stack.image": "i"},
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Ports": [{"PublishedPort": 8080, "TargetPort": 8080}]},
            "TaskTemplate": {
                "Placement": {"Constraints": ["a == b"]},
                "Resources": {"Limits": {"MemoryBytes": 1 << 30}},
                "ContainerSpec": {
                    "Image": "i@1",
                    "Env": ["LOG_LEVEL=INFO", "PORT=1"],
                    "Secrets": [{"SecretName": "key-1"}],
                    "Labels": {"chat.release": "abc", "com.docker.stack.namespace": "chat"},
                    "ReadOnly": True,
                },
            },
        }
    }


def test_a_service_as_released_differs_in_nothing() -> None:
    assert drift.differences(STACK, "node1", live()) == []


def test_what_differs_from_the_release_is_told_setting_by_setting() -> None:
    bent = live()
    bent["Spec"]["Mode"]["Replicated"]["Replicas"] = 0
    bent["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] = ["LOG_LEVEL=DEBUG", "PORT=1", "NEW=1"]
    assert drift.differences(STACK, "node1", bent) == [
        "environment LOG_LEVEL: DEBUG, in the release INFO",
        "environment NEW: 1, in the release none",
        "replicas: 0, in the release 1",
    ]
    assert drift.differences(STACK, "node9", bent) == ["node9 is not in the release"]
    assert [drift.byte_count(text) for text in ("512M", "1gb", 7, None)] == [512 << 20, 1 << 30, 7, None]


def test_a_bundle_stays_within_its_bounds() -> None:
    kept = bundle.bounded({"small": "abc", "long": "x" * 50 + "end", "longer": "y" * 60}, 20, 70)
    assert kept["small"] == "abc"
    assert kept["long"].endswith("end")
    assert "the last 20 of 53" in kept["long"]
    assert kept["longer"].startswith("(left out")


def test_an_item_that_hangs_or_fails_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "ITEM_S", 0.2)
    items = {"slow": "sleep 5", "missing": "no-such-program", "failing": "false", "fine": "echo here"}
    monkeypatch.setattr(bundle, "COMMANDS", items)
    monkeypatch.setattr(bundle, "of_containers", lambda _: {})
    said = bundle.gather("chat", 1000, 10_000)
    assert "no answer" in said["slow"]
    assert "No such file" in said["missing"]
    assert "ended with 1" in said["failing"]
    assert said["fine"] == "here\n"


def test_the_archive_has_no_secret(tmp_path: Path) -> None:
    archive = load("observe/action_plugins/observe_archive.py")
    report = {"level": "down", "findings": [], "services": [], "hosts": []}
    answers = {"host1": {"items": {"docker/info": f"x {CANARY} y"}}, "host2": {"unreachable": True, "msg": "no route"}}
    (tmp_path / "b.tar.gz").touch(mode=0o644)  # of an earlier run, and readable by others
    size = archive.pack(tmp_path / "b.tar.gz", observe.bundle(answers, report), [CANARY])
    data = (tmp_path / "b.tar.gz").read_bytes()
    assert len(data) == size
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        texts = {m.name: opened.extractfile(m).read().decode() for m in opened}  # type: ignore[union-attr]
    assert set(texts) == {
        f"b/{name}" for name in ("diagnosis.txt", "report.json", "host1/docker/info", "host2/no-answer")
    }
    assert texts["b/host1/docker/info"] == "x [secret] y"


def test_files_are_written_whole_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "deep/x.py"
    files.write(path, "1")
    assert files.content_of(path) == "1"
    files.write(path, None)
    assert files.content_of(path) is None
    assert list(path.parent.iterdir()) == []


def test_the_hourly_check_says_how_bad_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    finding = {"cause": "drift", "level": "degraded", "text": "x"}
    health.tell({"acted": True, "level": "down", "findings": [finding]})
    health.tell({"acted": False})
    said = ["<2>the cluster is down", "<4>drift: x", "<6>another manager leads and acts"]
    assert capsys.readouterr().out.splitlines() == said


def test_the_hourly_check_is_installed_with_all_it_imports() -> None:
    variables = (ROLES / "observe/vars/main.yml").read_text()
    listed = set(variables.partition("observe_timer_modules: [")[2].partition("]")[0].split(", "))
    needed: set[str] = set()
    open_files = [ROLES / "observe/files/health.py"]
    while open_files:
        for name in imported(open_files.pop().read_text()) - needed:
            needed.add(name)
            open_files.append(ROLES / f"observe/module_utils/observe_{name}.py")
    assert needed == listed


def imported(source: str) -> set[str]:
    return set(re.findall(r"^from ansible\.module_utils\.observe_(\w+)", source, re.MULTILINE)) | {
        name.strip().removeprefix("observe_")
        for names in re.findall(r"^from ansible\.module_utils import (.+)$", source, re.MULTILINE)
        for name in names.split(",")
    }
