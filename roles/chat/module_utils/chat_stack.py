"""What the chat role decides about a stack: which services change, whether one has come up, what nobody needs.

Pure functions over the JSON that `docker ... inspect` prints; `Docker` at the end is the only part that runs anything.
A stack is a compose file as a dict. A release is what a successful roll leaves in the Swarm, as a config object:
{"release": number, "stack": the stack, "specs": {service: hash of its live specification}, ...}.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

NAMESPACE_LABEL = "com.docker.stack.namespace"
STACK_LABEL = "chat.stack"
RELEASE_LABEL = "chat.release"
RELEASE_VARIABLE = "CHAT_RELEASE"
CRASHES_TO_GIVE_UP = 3
UNORDERED = {"Configs", "Env", "Mounts", "Secrets"}

Json = dict[str, Any]


def digest(value: Any) -> str:
    """A short hash of anything JSON can hold, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def stamp(stack: Json) -> Json:
    """The stack with each service's own hash in its container label and, where it asks for it, its environment.

    So a running task tells which definition it belongs to, and a service's stamp changes only with the service, or with
    a secret or config that it has.
    """
    stamped = copy.deepcopy(stack)
    for service in stamped["services"].values():
        release = digest(resolved(unstamped(service), stack))
        service.setdefault("labels", {})[RELEASE_LABEL] = release
        if RELEASE_VARIABLE in service.get("environment", {}):
            service["environment"][RELEASE_VARIABLE] = release
    return stamped


def unstamped(service: Json) -> Json:
    """The service without its stamp, and without how many there are of it: scaling leaves the tasks that run alone."""
    plain = copy.deepcopy(service)
    plain.get("deploy", {}).pop("replicas", None)
    plain.get("labels", {}).pop(RELEASE_LABEL, None)
    if not plain.get("labels"):
        plain.pop("labels", None)
    if RELEASE_VARIABLE in plain.get("environment", {}):
        plain["environment"][RELEASE_VARIABLE] = ""
    return plain


def resolved(service: Json, stack: Json) -> Json:
    """The service, its secrets and configs by the names of the Swarm's objects, which tell their content."""
    named = copy.deepcopy(service)
    for kind in ("secrets", "configs"):
        for reference in named.get(kind, []):
            reference["source"] = stack[kind][reference["source"]]["name"]
    return named


def edited(stack: Json, edit: Json, scope: list[str]) -> Json:
    """The stack, stamped, with the services in `scope` changed: `image`, variables of `environment`, or `replicas`."""
    changed = copy.deepcopy(stack)
    for name in scope:
        service = changed["services"][name]
        if edit.get("image"):
            service["image"] = edit["image"]
        if edit.get("environment"):
            service["environment"] = {
                **service.get("environment", {}),
                **{k: str(v) for k, v in edit["environment"].items()},
            }
        if edit.get("replicas"):
            service["deploy"]["replicas"] = edit["replicas"]
    return stamp(changed)


def as_many_as(stack: Json, running: Json) -> Json:
    """The stack with as many replicas of each service as another one has: their number is no part of a version."""
    scaled = copy.deepcopy(stack)
    for name, service in scaled["services"].items():
        if name in running["services"]:
            service["deploy"]["replicas"] = running["services"][name]["deploy"]["replicas"]
    return scaled


def release_of(stack: Json, service: str) -> str:
    """The stamp of one service of a stamped stack."""
    return str(stack["services"][service]["labels"][RELEASE_LABEL])


def restrict(wanted: Json, previous: Json, scope: list[str]) -> Json:
    """`wanted` for the services in `scope`, `previous` for all others.

    What only the others refer to (secrets, configs, volumes) is kept as well.
    """
    merged = copy.deepcopy(wanted)
    for kind in ("networks", "volumes", "secrets", "configs"):
        merged[kind] = {**previous.get(kind, {}), **wanted.get(kind, {})}
    for name, service in previous["services"].items():
        if name not in scope:
            merged["services"][name] = rename_references(service, previous, merged)
    return merged


def rename_references(service: Json, previous: Json, merged: Json) -> Json:
    """The service of an older stack, with its secrets and configs filed under their own names in the merged stack.

    Both stacks know e.g. `jwt_key`, and mean another object by it.
    """
    renamed = copy.deepcopy(service)
    for kind in ("secrets", "configs"):
        for reference in renamed.get(kind, []):
            definition = previous[kind][reference["source"]]
            if merged[kind][reference["source"]] != definition:
                reference["source"] = definition["name"]
                merged[kind][definition["name"]] = definition
    return renamed


def slice_of(stack: Json, names: list[str]) -> Json:
    """The compose file of these services alone, with what they refer to. Deploying it leaves all others untouched."""
    services = {name: stack["services"][name] for name in names}
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set(), "configs": set()}
    for service in services.values():
        used["networks"].update(service.get("networks", {}))
        used["volumes"].update(mount["source"] for mount in service.get("volumes", []) if mount["type"] == "volume")
        used["secrets"].update(reference["source"] for reference in service.get("secrets", []))
        used["configs"].update(reference["source"] for reference in service.get("configs", []))
    tops = {kind: {name: stack[kind][name] for name in sorted(names)} for kind, names in used.items() if names}
    return {"version": stack["version"], "services": services, **tops}


def spec_hash(service: Json) -> str:
    """A hash of a live service's specification that a mere restart does not change.

    `docker service update --force` counts up ForceUpdate, and puts the mounts into another order.
    """
    spec = copy.deepcopy(service["Spec"])
    spec["TaskTemplate"].pop("ForceUpdate", None)
    container = spec["TaskTemplate"]["ContainerSpec"]
    for key in UNORDERED & container.keys():
        container[key] = sorted(container[key], key=digest)
    return digest(spec)


def changes(wanted: Json, previous: Json | None, live: dict[str, Json]) -> list[dict[str, str]]:
    """The services to touch, in the stack's order, each with the reason.

    `live` maps a service's name in the stack to what `docker service inspect` prints of it.
    """
    found = []
    for name, service in wanted["services"].items():
        if name not in live:
            reason = "is not there"
        elif previous is None or previous["stack"]["services"].get(name) != service:
            reason = "has a new definition"
        elif previous["specs"].get(name) != spec_hash(live[name]):
            reason = "was changed by hand"
        else:
            continue
        found.append({"service": name, "reason": reason})
    return found


@dataclass
class Verdict:
    """Whether a service is as its specification says: `state` is waiting, up or failed."""

    state: str
    message: str = ""
    task: Json = field(default_factory=dict)


def verdict(
    service: Json, tasks: list[Json], stale_update: str | None = None, seen: frozenset[str] = frozenset()
) -> Verdict:
    """Judge a service by its update status and its tasks.

    `stale_update` is the StartedAt of the update status there was before our own update: one that says the same
    tells of the past (docker/cli #6752 is why this is read at all: a deploy that was rolled back still exits 0).
    `seen` are the tasks there were before, whose ends are the past as well.
    """
    update = service.get("UpdateStatus") or {}
    if update.get("StartedAt") == stale_update:
        update = {}
    state = update.get("State", "")
    if state.startswith("rollback") or state == "paused":
        return Verdict("failed", f"Swarm says {state}: {update.get('Message', '')}")

    current = [task for task in tasks if same_task(task["Spec"], service["Spec"]["TaskTemplate"])]
    crashed = [t for t in current if t["Status"]["State"] in ("failed", "rejected") and t.get("ID") not in seen]
    up = [task for task in current if task["DesiredState"] == "running" and task["Status"]["State"] == "running"]
    replicas = service["Spec"].get("Mode", {}).get("Replicated", {}).get("Replicas", 1)
    # Only a stop waits for what goes: after an update, a machine that is gone leaves a task that seems to run for ever.
    going = [task for task in tasks if task["Status"]["State"] == "running"] if replicas == 0 else []
    if len(up) == replicas and not going and state in ("", "completed"):
        return Verdict("up", task=min(up, key=lambda task: int(task.get("Slot", 1))) if up else {})
    if len(up) < replicas and len(crashed) >= CRASHES_TO_GIVE_UP:
        return Verdict("failed", f"{len(crashed)} tasks in a row ended")
    states = [task["Status"]["State"] for task in current if task["DesiredState"] == "running"]
    return Verdict("waiting", f"task {', '.join(states) or 'missing'}, update {state or 'none'}")


def same_task(task: Json, template: Json) -> bool:
    """Whether a task was made from this template. One of them may leave out what is empty, the other does not."""
    return essence(task) == essence(template)


def essence(spec: Json) -> Json:
    ignored = {"Networks", "Runtime"}
    top = {key: value for key, value in spec.items() if value and key not in ignored}
    return top | {"ContainerSpec": {key: value for key, value in spec["ContainerSpec"].items() if value}}


def task_errors(tasks: list[Json]) -> list[str]:
    """What ended the tasks, newest first, each cause once."""
    ended = sorted(
        (task for task in tasks if task["Status"].get("Err")), key=lambda t: str(t["CreatedAt"]), reverse=True
    )
    return list(dict.fromkeys(f"{task['Status']['State']}: {task['Status']['Err']}" for task in ended))


def references(text: str, objects: list[Json]) -> set[str]:
    """The names of those secrets or configs that occur in a text of JSON."""
    return {name for item in objects if f'"{(name := item["Spec"]["Name"])}"' in text}


def find_release(releases: list[Json], wanted: str) -> Json:
    """The content of a release: `current`, `previous`, its number, or the version it was given.

    The previous one differs from the current one in more than numbers of replicas. Of several with one version, the
    newest. Raises RuntimeError, naming those there are.
    """
    known = [decode(item) for item in sorted(releases, key=number, reverse=True)]
    if wanted == "current" and known:
        return known[0]
    for release in known:
        if wanted == "previous" and as_many_as(release["stack"], known[0]["stack"]) != known[0]["stack"]:
            return release
        if wanted in (str(release["release"]), release.get("version")):
            return release
    there = ", ".join(f"{r['release']} ({r.get('version') or 'no version'})" for r in known) or "none"
    raise RuntimeError(f"There is no release {wanted}. Those kept: {there}.")


def latest(releases: list[Json]) -> Json | None:
    """The newest release, None if there is none. Takes config objects as inspected."""
    return decode(max(releases, key=number)) if releases else None


def number(release: Json) -> int:
    return int(release["Spec"]["Labels"][RELEASE_LABEL])


def decode(release: Json) -> Json:
    """The content of a release's config object."""
    content: Json = json.loads(base64.b64decode(release["Spec"]["Data"]))
    return content


class Docker:
    """The docker client of the machine the module runs on.

    `run` is AnsibleModule.run_command; a failed command raises RuntimeError with what it wrote.
    """

    def __init__(self, run: Any, stack_name: str) -> None:
        self._run = run
        self.stack_name = stack_name

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        code, out, err = self._run(["docker", *arguments], data=stdin)
        if code != 0:
            raise RuntimeError(f"docker {' '.join(arguments[:2])}: {err.strip() or out.strip()}")
        return str(out)

    def inspect(self, kind: str, names: list[str]) -> list[Json]:
        found: list[Json] = json.loads(self(kind, "inspect", *names)) if names else []
        return found

    def services(self) -> dict[str, Json]:
        """The stack's live services by their name in the stack."""
        ids = self("service", "ls", "--quiet", "--filter", f"label={NAMESPACE_LABEL}={self.stack_name}").split()
        return {item["Spec"]["Name"].removeprefix(f"{self.stack_name}_"): item for item in self.inspect("service", ids)}

    def tasks(self, service: str) -> list[Json]:
        while True:
            ids = self("service", "ps", "--quiet", "--no-trunc", f"{self.stack_name}_{service}").split()
            try:
                found: list[Json] = json.loads(self("inspect", "--type", "task", *ids)) if ids else []
            except RuntimeError as error:
                # Swarm has forgotten an old task since it was listed.
                if "No such task" in str(error):
                    continue
                raise
            return found

    def labelled(self, kind: str) -> list[Json]:
        """The secrets or configs made for this stack."""
        ids = self(kind, "ls", "--quiet", "--filter", f"label={STACK_LABEL}={self.stack_name}").split()
        return self.inspect(kind, ids)

    def releases(self) -> list[Json]:
        return [item for item in self.labelled("config") if RELEASE_LABEL in item["Spec"]["Labels"]]

    def deploy(self, stack: Json) -> None:
        arguments = ("stack", "deploy", "--compose-file", "-", "--resolve-image", "never", self.stack_name)
        # A compose file replaces $NAME by the environment's; $$ stands for one $.
        self(*arguments, stdin=json.dumps(stack).replace("$", "$$"))
