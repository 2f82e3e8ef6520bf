"""nats-py alone: publishes to a stream of three replicas and follows it, as a node does, and does nothing else.

python bench/peers/nats_py.py URLS USER PASSWORD IN_FLIGHT SECONDS
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import nats
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

_BODY = b"x" * 100


async def _measure(urls: list[str], user: str, password: str, in_flight: int, seconds: float) -> dict[str, float]:
    connection = await nats.connect(urls, user=user, password=password)
    stream = connection.jetstream()
    config = StreamConfig("ALONE", subjects=["alone"], storage=StorageType.FILE, num_replicas=3)
    await stream.add_stream(config, retention=RetentionPolicy.LIMITS)
    heard = 0
    all_heard = asyncio.Event()

    async def hear(message: object) -> None:
        nonlocal heard
        heard += 1
        if published and heard == len(delays):
            all_heard.set()

    await stream.subscribe("alone", ordered_consumer=True, cb=hear)
    deadline = time.monotonic() + seconds
    delays: list[float] = []
    published = False

    async def publish(sender: int) -> None:
        number = 0
        while (began := time.monotonic()) < deadline:
            number += 1
            await stream.publish("alone", _BODY, headers={"Nats-Msg-Id": f"{sender}:{number}"})
            delays.append(time.monotonic() - began)

    await asyncio.gather(*(publish(sender) for sender in range(in_flight)))
    published = True
    if heard < len(delays):
        await all_heard.wait()
    await connection.close()
    return {"sent_s": len(delays) / seconds, "delay_p50_s": statistics.median(delays)}


async def _main() -> None:
    urls, user, password, in_flight, seconds = sys.argv[1:]
    async with asyncio.timeout(float(seconds) + 30):
        print(json.dumps(await _measure(urls.split(","), user, password, int(in_flight), float(seconds))))


asyncio.run(_main())
