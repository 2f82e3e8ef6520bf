"""What a manager knows of the cluster: machines, services, tasks and their errors, releases, lock and window.

`Swarm.look` is the only part that asks; the rest are pure functions over the JSON of the engine's API.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.module_utils.chat_stack import RELEASE_LABEL, STACK_LABEL, changes, latest, number, same_task, task_errors
from ansible.module_utils.observe_engine import Engine, EngineError

NAMESPACE_LABEL = "com.docker.stack.namespace"
NOTES_LABEL, KIND_LABEL = "chat.notes-of", "chat.note"
CONSTRAINT = "node.labels.node_type == "
AUDIT_TAIL = 20
RELEASES_TAIL = 5

Json = dict[str, Any]


def look(engine: Engine, stack: str) -> Json:
    """The place of this machine in a Swarm, and where it manages one, the cluster as it knows it.

    `error` is what a manager says that has no quorum, or "".
    """
    try:
        info = engine.get("/info")
    except EngineError as error:
        return {"state": "unknown", "manages": False, "leads": False, "error": str(error)}
    swarm = info["Swarm"]
    found: Json = {
        "state": swarm["LocalNodeState"],
        "node_id": swarm["NodeID"],
        "manages": swarm["ControlAvailable"],
        "leads": False,
        "error": swarm.get("Error", ""),
    }
    # A manager that has lost its quorum says of itself that it is none; its error tells the difference.
    if not swarm["ControlAvailable"]:
        return found
    try:
        found.update(cluster(engine, stack, swarm["NodeID"]))
    except EngineError as error:
        found["error"] = str(error)
    return found


def cluster(engine: Engine, stack: str, node_id: str) -> Json:
    """Everything only a manager with a quorum can answer."""
    filters = {"label": [f"{NAMESPACE_LABEL}={stack}"]}
    machines = [machine(node) for node in engine.get("/nodes")]
    configs, secrets = engine.get("/configs"), engine.get("/secrets")
    # As `docker service inspect` asks: the hashes of a release are of that answer, defaults and all.
    inspected = [
        engine.get(f"/services/{item['ID']}", insertDefaults="true")
        for item in engine.get("/services", filters=filters)
    ]
    services = {item["Spec"]["Name"].removeprefix(f"{stack}_"): item for item in inspected}
    tasks = engine.get("/tasks", filters=filters)
    releases = sorted(
        (c for c in configs if RELEASE_LABEL in c["Spec"]["Labels"] and c["Spec"]["Labels"].get(STACK_LABEL) == stack),
        key=number,
    )
    names = {item["Spec"]["Name"] for item in configs + secrets}
    hosts = {m["id"]: m["hostname"] for m in machines}
    return {
        "leads": any(m["id"] == node_id and m["leader"] for m in machines),
        "machines": machines,
        "services": {name: service(item, tasks, hosts, names) for name, item in services.items()},
        "drift": drift(releases, services),
        "releases": [release_line(item) for item in releases[-RELEASES_TAIL:]],
        **notes(configs, stack),
    }


def machine(node: Json) -> Json:
    """One line on a machine of the Swarm. `node` as inspected."""
    manager = node.get("ManagerStatus") or {}
    return {
        "id": node["ID"],
        "hostname": node["Description"]["Hostname"],
        "address": node["Status"].get("Addr", ""),
        "state": node["Status"]["State"],
        "availability": node["Spec"]["Availability"],
        "node_type": (node["Spec"].get("Labels") or {}).get("node_type", ""),
        "manager": bool(manager),
        "reachable": manager.get("Reachability") == "reachable",
        "leader": bool(manager.get("Leader")),
        "engine": node["Description"]["Engine"]["EngineVersion"],
    }


def service(item: Json, tasks: list[Json], hosts: dict[str, str], names: set[str]) -> Json:
    """One line on a service. `names` are the secrets and configs that there are."""
    template = item["Spec"]["TaskTemplate"]
    container = template["ContainerSpec"]
    own = sorted(
        (t for t in tasks if t["ServiceID"] == item["ID"]), key=lambda task: str(task["CreatedAt"]), reverse=True
    )
    running = [t for t in own if t["DesiredState"] == "running" and t["Status"]["State"] == "running"]
    constraints = (template.get("Placement") or {}).get("Constraints") or []
    wanted_names = [s["SecretName"] for s in container.get("Secrets") or []]
    wanted_names += [c["ConfigName"] for c in container.get("Configs") or []]
    return {
        "wanted": item["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 1),
        "running": len(running),
        "image": container["Image"],
        "release": (container.get("Labels") or {}).get(RELEASE_LABEL, ""),
        "node_type": next((c.removeprefix(CONSTRAINT) for c in constraints if c.startswith(CONSTRAINT)), ""),
        "host": ", ".join(sorted({hosts.get(t["NodeID"], t["NodeID"]) for t in running})),
        "since": max((t["Status"]["Timestamp"] for t in running), default=""),
        # Only what went wrong with what is wanted now: neither what an update replaced, nor another release's end.
        "failed_at": [t["Status"]["Timestamp"] for t in own if failed(t) and same_task(t["Spec"], template)],
        "errors": task_errors(own)[:5],
        "update": (item.get("UpdateStatus") or {}).get("State", ""),
        "update_message": (item.get("UpdateStatus") or {}).get("Message", ""),
        "missing_objects": sorted(set(wanted_names) - names),
        "tasks": [task(t, hosts) for t in own],
    }


def failed(item: Json) -> bool:
    return item["Status"]["State"] in ("failed", "rejected")


def task(item: Json, hosts: dict[str, str]) -> Json:
    """One line on a task."""
    status = item["Status"]
    return {
        "id": item["ID"],
        "host": hosts.get(item.get("NodeID", ""), item.get("NodeID", "")),
        "desired": item["DesiredState"],
        "state": status["State"],
        "at": status["Timestamp"],
        "error": status.get("Err", ""),
        "exit_code": (status.get("ContainerStatus") or {}).get("ExitCode", 0),
    }


def drift(releases: list[Json], services: dict[str, Json]) -> list[str]:
    """What differs from the last release, in words."""
    newest = latest(releases)
    if newest is None:
        return ["there is no release yet"] if services else []
    found = [f"{c['service']} {c['reason']}" for c in changes(newest["stack"], newest, services)]
    return found + [f"{name} is in no release" for name in sorted(services.keys() - newest["stack"]["services"].keys())]


def release_line(config: Json) -> Json:
    """A release without its stack: number, when, by whom, what it touched."""
    content = decode(config)
    touched = [change["service"] for change in content.get("changes", [])]
    kept = {key: value for key, value in content.items() if key not in ("stack", "specs", "changes")}
    return kept | {"services": touched}


def notes(configs: list[Json], stack: str) -> Json:
    """The lock, the maintenance window, and the last records of what was done."""
    found: dict[str, list[Json]] = {"lock": [], "window": [], "audit": []}
    for config in sorted(configs, key=lambda item: str(item["CreatedAt"])):
        labels = config["Spec"]["Labels"] or {}
        if labels.get(NOTES_LABEL) == stack and labels.get(KIND_LABEL) in found:
            found[labels[KIND_LABEL]].append(decode(config))
    return {
        "lock": found["lock"][0] if found["lock"] else {},
        "window": found["window"][0] if found["window"] else {},
        "audit": found["audit"][-AUDIT_TAIL:],
    }


def decode(config: Json) -> Json:
    content: Json = json.loads(base64.b64decode(config["Spec"]["Data"]))
    return content
