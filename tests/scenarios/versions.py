"""Versions of the node's image, good and bad, in the lab's registry: each is one layer upon the version that serves."""

from __future__ import annotations

from tests.scenarios.lab import run

REGISTRY = "127.0.0.1:5000"

LAYERS = {
    "v2": "LABEL version=v2",
    "does-not-start": 'ENTRYPOINT ["false"]',
    "unhealthy": "HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD false",
    # It is ready, but takes no message of more than a byte, so that the probe's does not pass.
    "cannot-serve": "ENV MAX_BODY_BYTES=1",
    "fails-on-node2": (
        'ENTRYPOINT ["/bin/sh", "-c", "test $NODE_ID != node2 || exit 7; exec chat-node \\"$@\\"", "sh"]\nCMD ["serve"]'
    ),
}


def publish(base: str, version: str) -> None:
    """Build a version upon an image of the registry, and push it."""
    tag = f"{REGISTRY}/chat-node:{version}"
    source = f"FROM {base.replace('172.30.0.2:5000', REGISTRY)}\n{LAYERS[version]}\n"
    built = run(
        "sh", "-c", f"printf '%s' \"$SOURCE\" | docker build --quiet --tag {tag} -", SOURCE=source, timeout_s=120
    )
    assert built.returncode == 0, built.stderr
    pushed = run("docker", "push", "--quiet", tag, timeout_s=120)
    assert pushed.returncode == 0, pushed.stderr
