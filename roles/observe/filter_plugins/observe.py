"""The judge and the reports as filters: what the hosts told goes in, the verdict comes out."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import ansible.module_utils

# The same files run on the hosts as parts of modules; here they are found under the same name.
ansible.module_utils.__path__.append(str(Path(__file__).parents[1] / "module_utils"))
observe_view = importlib.import_module("ansible.module_utils.observe_view")
observe_judge = importlib.import_module("ansible.module_utils.observe_judge")
observe_logs = importlib.import_module("ansible.module_utils.observe_logs")
observe_reach = importlib.import_module("ansible.module_utils.observe_reach")
observe_redact = importlib.import_module("ansible.module_utils.observe_redact")
observe_text = importlib.import_module("ansible.module_utils.observe_text")

Json = dict[str, Any]


def report(
    answers: dict[str, Json],
    expected: dict[str, dict[str, str]],
    now: float,
    probes: dict[str, Json] | None = None,
    tokens: dict[str, str] | None = None,
    limits: dict[str, float] | None = None,
) -> Json:
    """The verdict.

    Args:
        answers: inventory name -> the registered result of `observe_facts`.
        expected: inventory name -> kind -> service, of what the inventory wants where.
        now: Unix time in seconds.
        probes: inventory name -> the registered result of `chat-node probe`.
        tokens: name -> token whose expiry is watched.
        limits: what differs from the limits that observe_view has.
    """
    found: Json = observe_judge.judge(
        observe_view.View(
            hosts={name: answer.get("facts", {}) for name, answer in answers.items()},
            silent={name: str(answer.get("msg", "")) for name, answer in answers.items() if "facts" not in answer},
            expected=expected,
            now=now,
            probes={name: observe_view.probe(result) for name, result in (probes or {}).items()},
            tokens=tokens or {},
            limits=observe_view.LIMITS | (limits or {}),
        )
    )
    return found


def log_lines(answers: dict[str, Json]) -> list[Json]:
    """What `observe_log_lines` found on all hosts, in the order of time."""
    found: list[Json] = observe_logs.merge({host: answer.get("lines", []) for host, answer in answers.items()})
    return found


def log_text(lines: list[Json], secrets: list[str]) -> str:
    """Log lines as people read them, the secrets taken out."""
    return str(observe_redact.redact("\n".join(map(observe_logs.as_text, lines)), secrets))


def log_export(lines: list[Json], secrets: list[str]) -> str:
    """Log lines as programs read them, one JSON object a line, the secrets taken out."""
    texts = (json.dumps(line | {"line": observe_redact.redact(line["line"], secrets)}) for line in map(flat, lines))
    return "".join(f"{text}\n" for text in texts)


def flat(line: Json) -> Json:
    """A log line without what its own text says again."""
    return {key: value for key, value in line.items() if key != "fields"}


def service_text(found: Json, secrets: list[str]) -> str:
    """The report of `inspect.yml`, the secrets taken out."""
    return str(observe_redact.redact(observe_text.service(found), secrets))


def silent(answers: dict[str, Json]) -> list[str]:
    """The hosts that told nothing, each with the reason."""
    return [
        f"{host}: {observe_view.short(answer.get('error') or answer.get('msg', 'no answer'))}"
        for host, answer in sorted(answers.items())
        if answer.get("unreachable") or answer.get("failed") or answer.get("error")
    ]


def bundle(answers: dict[str, Json], found: Json) -> dict[str, str]:
    """Path in the archive -> text: the diagnosis first, then what each host said."""
    texts = {"diagnosis.txt": observe_text.diagnosis(found) + "\n", "report.json": json.dumps(found, indent=1)}
    for host, answer in answers.items():
        items = answer.get("items") or {"no-answer": str(answer.get("msg", "no answer"))}
        texts.update({f"{host}/{name}": text for name, text in items.items()})
    return texts


def targets(answers: dict[str, Json]) -> dict[str, str]:
    """Service -> address in the overlay, of all containers that run."""
    rows = [row for answer in answers.values() for row in answer.get("facts", {}).get("containers", [])]
    return {r["service"]: r["addresses"]["chat-overlay"] for r in rows if r["addresses"].get("chat-overlay")}


def network_report(answers: dict[str, Json], wanted: dict[str, str]) -> Json:
    """What `observe_network_facts` found on all hosts, and what is wrong with it."""
    hosts = {host: answer["network"] for host, answer in answers.items() if "network" in answer}
    unreached = {host: observe_view.short(a.get("msg", "")) for host, a in answers.items() if "network" not in a}
    faults = observe_reach.judge(hosts, wanted, unreached)
    return {"hosts": hosts, "targets": wanted, "faults": faults, "level": "degraded" if faults else "healthy"}


def regex_fault(text: str) -> str:
    """Why a text is no regular expression; "" if it is one."""
    try:
        re.compile(text)
    except re.error as error:
        return str(error)
    return ""


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "observe_report": report,
            "observe_bundle": bundle,
            "observe_log_export": log_export,
            "observe_log_lines": log_lines,
            "observe_log_text": log_text,
            "observe_network_report": network_report,
            "observe_network_text": observe_text.network,
            "observe_regex_fault": regex_fault,
            "observe_service_text": service_text,
            "observe_silent": silent,
            "observe_targets": targets,
            "observe_health_text": observe_text.health,
            "observe_status_text": observe_text.status,
            "observe_resources_text": observe_text.resources,
            "observe_diagnosis_text": observe_text.diagnosis,
        }
