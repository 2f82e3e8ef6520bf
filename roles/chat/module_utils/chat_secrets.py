"""Who needs which secret of the stack. Pure functions over what `docker ... inspect` prints."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def uses(objects: list[Json], live: dict[str, Json], releases: list[Json]) -> list[Json]:
    """For each secret object, newest first: the services that run with it, and the releases that would need it.

    `objects` as inspected, `live`: service name -> as inspected, `releases` decoded.
    """
    return [
        {
            "secret": item["Spec"]["Name"],
            "created": item["CreatedAt"],
            "services": sorted(name for name, service in live.items() if item["Spec"]["Name"] in mounted(service)),
            "releases": [release["release"] for release in releases if item["Spec"]["Name"] in needed(release)],
        }
        for item in sorted(objects, key=lambda item: str(item["CreatedAt"]), reverse=True)
    ]


def retired(releases: list[Json]) -> list[Json]:
    """The releases that cannot come back without a secret the current one has done away with. Newest first, decoded."""
    return [release for release in releases if not needed(release) <= needed(releases[0])]


def mounted(service: Json) -> set[str]:
    """The secrets of a live service."""
    container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
    return {reference["SecretName"] for reference in container.get("Secrets") or []}


def needed(release: Json) -> set[str]:
    """The secrets of a release's stack."""
    return {secret["name"] for secret in release["stack"].get("secrets", {}).values()}
