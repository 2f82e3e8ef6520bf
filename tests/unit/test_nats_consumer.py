"""A consumer is asked for until there is a leader who hears it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from node.log.nats_consumer import Consumer


class LeaderlessClient:
    """A connection to servers that hear nothing but the ``heard``-th question for a consumer, and those after it."""

    def __init__(self, heard: int) -> None:
        self.heard = heard
        self.asked: list[str | None] = []
        self.pulls: list[str] = []

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, cb: Any) -> None:
        assert subject == "inbox.*"

    def jsm(self, timeout: float) -> LeaderlessClient:
        assert timeout < 1, "a question that is lost must not be waited for long"
        return self

    async def add_consumer(self, stream: str, config: ConsumerConfig) -> None:
        self.asked.append(config.name)
        if len(self.asked) < self.heard:
            raise nats.errors.TimeoutError

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        self.pulls.append(subject)


def started(client: LeaderlessClient) -> None:
    asyncio.run(Consumer(cast("Client", client), "CHAT", 1, lambda: 0).start())


def test_the_same_consumer_is_asked_for_until_somebody_hears_it() -> None:
    client = LeaderlessClient(heard=4)
    started(client)
    assert len(client.asked) == 4
    assert len(set(client.asked)) == 1, "else consumers are left behind"
    assert client.pulls == [f"$JS.API.CONSUMER.MSG.NEXT.CHAT.{client.asked[0]}"]


def test_it_is_given_up_in_the_end() -> None:
    client = LeaderlessClient(heard=1000)
    with pytest.raises(nats.errors.TimeoutError):
        started(client)
    assert client.pulls == []
