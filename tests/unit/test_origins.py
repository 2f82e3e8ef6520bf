"""Which pages' browsers may connect."""

from __future__ import annotations

import pytest

from node.transport.handshake import Origins

EDGES = ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("allowed", "origin", "host", "admitted"),
    [
        ((), "http://10.0.0.1:9090", "10.0.0.1:8080", True),
        ((), "http://10.0.0.1:9091", "10.0.0.1:8080", False),
        ((), "http://10.0.0.2:9090", "10.0.0.1:8080", False),
        ((), "https://a.example", "a.example", True),
        ((), "https://a.example", "b.example", True),
        ((), "http://a.example", "b.example", False),
        ((), "https://evil.example", "b.example", False),
        ((), "null", "b.example", False),
        (("https://c.example",), "https://c.example", "b.example", True),
        (("https://c.example",), "https://a.example", "b.example", False),
        (("https://c.example",), "https://b.example", "b.example", False),
        (("*",), "https://evil.example", "b.example", True),
    ],
)
def test_pages_of_the_same_host_and_of_the_edges_unless_others_are_named(
    allowed: tuple[str, ...], origin: str, host: str, admitted: bool
) -> None:
    assert Origins(allowed, 9090, EDGES).admit(origin, host) is admitted
