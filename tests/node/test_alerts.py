"""The alerts, tried by Prometheus's own tool: each fires on its fault, is silent before and after it, and in a
maintenance window if that excuses it. And what they are made of is there: runbook, metrics, dashboard, settings."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.unit import looks
from tests.unit.test_monitoring import MEMORY, monitoring

from . import alerts
from .alerts import CASES, LOOK, MENDED, STEP_S
from .process import NodeProcess
from .test_metrics import ROOT, TOOLS, check

ROLE = ROOT / "roles" / "monitoring"
RULES = ROLE / "files" / "rules.yml"
DASHBOARD = ROLE / "files" / "dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook.md"
# Whose metrics the rules and the dashboard use besides the chat's own.
OTHERS = {"process_resident_memory_bytes", "node_cpu_seconds_total", "up", "ALERTS"}

Json = dict[str, Any]


def rules() -> dict[str, Json]:
    """Alert -> its rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert (TOOLS / name).exists(), f"{name} is missing: run `make tools`"
    return subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True, check=False)


def trial(name: str, seen: alerts.Series, looks: list[tuple[int, list[Json]]], alert: str) -> Json:
    """A test as promtool reads it: series, and at what step which alerts of a name fire."""
    return {
        "name": name,
        "interval": f"{STEP_S}s",
        "input_series": [{"series": series, "values": values} for series, values in seen.items()],
        "alert_rule_test": [
            {"eval_time": f"{step * STEP_S}s", "alertname": alert, "exp_alerts": fired} for step, fired in looks
        ],
    }


def trials(alert: str) -> Iterator[Json]:
    known = alerts.healthy()
    yield trial(f"{alert} when all is well", known, [(step, []) for step in (LOOK, alerts.END - 1)], alert)
    for case in (case for case in CASES if case.alert == alert):
        fires = [{"exp_labels": {"severity": case.severity, **case.labels}}]
        seen = known | case.seen
        looks = [(alerts.FAULT - 1, []), (LOOK, fires), (alerts.END - 1, [])]
        yield trial(alert, seen, looks, alert)
        window = alerts.everywhere("chat_maintenance_until_timestamp_seconds", alerts.steady(MENDED * STEP_S))
        yield trial(f"{alert} in a window", seen | window, [(LOOK, [] if case.silent else fires)], alert)


def rule_alone(alert: str) -> Json:
    """A rule beside the one that knows the window, without its texts, which promtool would compare word by word."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rule = {key: value for key, value in rules()[alert].items() if key != "annotations"}
    return {"groups": [groups[0], {"name": alert, "interval": f"{STEP_S}s", "rules": [rule]}]}


def test_each_alert_fires_on_its_fault_alone(tmp_path: Path) -> None:
    plans = []
    for alert in rules():
        (tmp_path / f"{alert}.yml").write_text(yaml.safe_dump(rule_alone(alert)))
        plan = {"rule_files": [f"{alert}.yml"], "evaluation_interval": f"{STEP_S}s", "tests": list(trials(alert))}
        plans.append(tmp_path / f"trials-{alert}.yml")
        plans[-1].write_text(yaml.safe_dump(plan))
    done = tool("promtool", "test", "rules", *plans)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_each_alert_has_its_trial() -> None:
    assert {case.alert for case in CASES} == set(rules())


def test_texts_use_labels_that_the_alert_has() -> None:
    for case in CASES:
        text = rules()[case.alert]["annotations"]["summary"]
        required = re.sub(r"\{\{ ?with .*?end ?\}\}", "", text)
        assert set(re.findall(r"\$labels\.(\w+)", required)) <= case.labels.keys(), case.alert


def test_each_alert_has_a_heading_in_the_runbook() -> None:
    headings = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rules())


def used() -> dict[str, set[str]]:
    """File -> metrics that it uses."""
    expressions = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return {"rules": names_in(expressions), "dashboard": names_in(shown)}


def names_in(expressions: list[str]) -> set[str]:
    text = " ".join(re.sub(r'"[^"]*"', "", expression) for expression in expressions)
    text = re.sub(r"\b(by|without|on) *\([^)]*\)", "", text)
    text = re.sub(r"\{[^}]*\}", " ", text)
    words = set(re.findall(r"(?<![\w:$])[A-Za-z_]\w*(?![\w:(])", text))
    functions = set(re.findall(r"\b(\w+) *\(", text))
    return words - functions - {"unless", "on", "or", "and", "bool", "m", "by"}


def test_every_metric_that_is_used_is_there(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path) as node:
        told = set(re.findall(r"^# TYPE (\w+) ", node.get("/metrics")[1], re.MULTILINE))
    there = told | set(monitoring.HELP) | OTHERS
    for file, names in used().items():
        families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if name not in there}
        assert families <= there, file
        assert len(names & (told | set(monitoring.HELP))) > 10


def test_what_hosts_tell_is_as_prometheus_wants_it() -> None:
    for number in (1, 2, 3):
        facts = looks.facts(number)
        text = monitoring.render(monitoring.figures(facts, MEMORY, looks.NOW))
        assert check(text) == (0, "")


@pytest.mark.parametrize("hosts", [1, 3])
def test_the_configuration_is_one(tmp_path: Path, hosts: int) -> None:
    targets = [
        {"host": f"host{n}", "address": f"10.0.0.{n}", "node": f"node{n}", "further": "", "serves": n < 4}
        for n in range(1, hosts + 1)
    ]
    template = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(  # noqa: S701 - no HTML
        (ROLE / "templates" / "prometheus.yml.j2").read_text()
    )
    ports = {"alertmanager": 9093, "gossip": 9094, "prometheus": 9095, "host": 9100}
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    text = template.render(
        monitoring_targets=targets,
        monitoring_ports=ports,
        monitoring_http_port=9090,
        monitoring_config_dir=str(tmp_path),
    )
    (tmp_path / "prometheus.yml").write_text(text)
    done = tool("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {job["job_name"]: job["static_configs"] for job in yaml.safe_load(text)["scrape_configs"]}
    assert [len(jobs[name]) for name in ("node", "host", "alertmanager", "prometheus")] == [hosts, hosts, hosts, 1]
    assert jobs["node"][0]["labels"] == {"host": "host1", "service": "node1", "further": ""}


def test_whom_alertmanager_tells_is_as_it_wants_it(tmp_path: Path) -> None:
    wanted = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["monitoring_alertmanager"]
    wanted["global"] = {}
    wanted["receivers"] = [{"name": "operators", "webhook_configs": [{"url": "https://example.com/"}]}]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(wanted))
    done = tool("amtool", "check-config", tmp_path / "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    known = set(rules())
    for rule in wanted["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if matcher.startswith("alertname"):
                assert set(re.findall(r"Chat\w+", matcher)) <= known
