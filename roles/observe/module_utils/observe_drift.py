"""What differs between a service as the last release defines it and as it is. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def differences(stack: Json, name: str, live: Json) -> list[str]:
    """In words, setting by setting.

    Args:
        stack: the release's compose file as a dict.
        name: the service's name in it.
        live: the service as `docker service inspect` prints it.
    """
    wanted = stack["services"].get(name)
    if wanted is None:
        return [f"{name} is not in the release"]
    is_now, should_be = settings_of(live["Spec"]), wanted_settings(stack, wanted)
    names = sorted(is_now.keys() | should_be.keys())
    return [
        f"{setting}: {shown(is_now.get(setting))}, in the release {shown(should_be.get(setting))}"
        for setting in names
        if is_now.get(setting) != should_be.get(setting)
    ]


def shown(value: Any) -> str:
    return "none" if value is None else str(value)


def settings_of(spec: Json) -> Json:
    """Setting -> value of a live specification; an environment variable is a setting each."""
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    ports = spec.get("EndpointSpec", {}).get("Ports") or []
    environment = dict(item.partition("=")[::2] for item in container.get("Env") or [])
    return {
        "image": container["Image"],
        "replicas": spec["Mode"].get("Replicated", {}).get("Replicas"),
        "placement": sorted((template.get("Placement") or {}).get("Constraints") or []),
        "secrets": sorted(item["SecretName"] for item in container.get("Secrets") or []),
        "configs": sorted(item["ConfigName"] for item in container.get("Configs") or []),
        "ports": sorted(f"{port.get('PublishedPort')}:{port['TargetPort']}" for port in ports),
        "read only": bool(container.get("ReadOnly")),
        "memory": ((template.get("Resources") or {}).get("Limits") or {}).get("MemoryBytes"),
        **{f"environment {key}": value for key, value in environment.items()},
        **labels({**(spec.get("Labels") or {}), **(container.get("Labels") or {})}),
    }


def wanted_settings(stack: Json, service: Json) -> Json:
    """The same, of a service of a compose file."""
    deploy = service.get("deploy", {})
    memory = deploy.get("resources", {}).get("limits", {}).get("memory")
    return {
        "image": service["image"],
        "replicas": deploy.get("replicas", 1),
        # The Swarm keeps a constraint as it is written.
        "placement": sorted(deploy.get("placement", {}).get("constraints", [])),
        "secrets": sorted(stack["secrets"][item["source"]]["name"] for item in service.get("secrets", [])),
        "configs": sorted(stack["configs"][item["source"]]["name"] for item in service.get("configs", [])),
        "ports": sorted(f"{port['published']}:{port['target']}" for port in service.get("ports", [])),
        "read only": bool(service.get("read_only")),
        "memory": byte_count(memory),
        **{f"environment {key}": str(value) for key, value in service.get("environment", {}).items()},
        **labels({**deploy.get("labels", {}), **service.get("labels", {})}),
    }


def labels(found: Json) -> Json:
    """A setting for each label but those that the Swarm puts on by itself."""
    return {f"label {name}": str(value) for name, value in found.items() if not name.startswith("com.docker.")}


def byte_count(text: Any) -> int | None:
    """Bytes of a size as compose files have it: 512M, 1G, 1073741824."""
    if text is None:
        return None
    number, unit = str(text).rstrip("bB"), ""
    if number[-1:].isalpha():
        number, unit = number[:-1], number[-1].upper()
    return int(float(number) * 1024 ** " KMGT".index(unit or " "))
