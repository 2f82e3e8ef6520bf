"""People who chat on a cluster while things are done to it, and a reading of what is left in the end.

    async with workload(target, recorder, Shape(seed=7)):
        async with struck(target, recorder, "node killed", "node2"):
            await trio.sleep(5)

Everything goes into the recorder. When the block ends nothing new is sent; what was sent is settled, every node is
read, and everybody goes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import trio

from tests.faults.clients.chatter import Chatter
from tests.faults.clients.raw import RawClient, Seat
from tests.faults.clients.reference import Reference
from tests.faults.clients.setting import Setting
from tests.faults.clients.wire import Lost, Wire
from tests.faults.history import Plan, Recorder, Sample, State
from tests.faults.reading import read_node
from tests.faults.target import FaultError, Target

_FOUNDER, _READER = "founder", "reader"
_SAMPLE_S = 0.5
_FIGURES_EVERY = 4
_SETTLE_S = 60.0
_QUIET_S = 1.5
_TRIES = 60
_SICK_READING_S = 120.0
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Shape:
    """Who is there, and what they do.

    Attributes:
        seed: of all chance.
        raw, references: clients by ``websockets``, and reference clients.
        stalled: raw clients that send nothing, and stop to read now and then.
        moderated: users who are kicked and banned; the first of them has two clients.
        pause_s: mean time between two things that a client does.
        storm_s: mean time between two moments at which all raw clients lose their connection.
        run: tells the rooms of this run from those of an earlier one on the same cluster.
    """

    seed: int = 1
    raw: int = 9
    references: int = 4
    stalled: int = 2
    moderated: int = 2
    rooms: int = 3
    pause_s: float = 0.3
    storm_s: float = math.inf
    run: str = ""


@asynccontextmanager
async def workload(target: Target, recorder: Recorder, shape: Shape) -> AsyncIterator[Setting]:
    """Everybody chats until the block ends; then as told above. The cluster must be whole at both ends.

    Raises:
        TimeoutError: it is not; at the end, what can be read is read before.
        FaultError: nobody can tell whether it is; likewise.
    """
    rooms = [f"room-{shape.seed}{shape.run}-{number}" for number in range(shape.rooms)]
    victims = [f"victim{number}" for number in range(1, shape.moderated + 1)]
    setting = Setting(target, recorder, rooms, shape.seed, shape.pause_s, victims)
    recorder.note(Plan(list(target.nodes), rooms, shape.seed))
    await _prepare(setting)
    await _sample(setting)
    clients = _raw_clients(setting, shape)
    chatters = [Chatter(client, moderates=client.user == _FOUNDER) for client in clients]
    people: list[Callable[[], Awaitable[None]]] = [chatter.run for chatter in chatters]
    urls = [target.url(node) for node in target.nodes]
    people += [Reference(f"ref{number}", setting, urls).run for number in range(1, shape.references + 1)]
    async with trio.open_nursery() as nursery:
        # Each node has a loop of its own, so that none waits for another that does not answer.
        for node in target.nodes:
            nursery.start_soon(_sample_often, setting, node)
        nursery.start_soon(_storms, setting, shape.storm_s)
        for run in people:
            nursery.start_soon(run)
        yield setting
        setting.enough = True
        sick = await _not_whole(target)
        await _settle(recorder, clients)
        with trio.move_on_after(_SICK_READING_S if sick else math.inf):
            for node in target.nodes:
                await read_node(setting, node, _READER)
        nursery.cancel_scope.cancel()
    await trio.sleep(_QUIET_S)
    await _sample(setting)
    await _note_states(setting)
    if sick:
        raise sick


async def _not_whole(target: Target) -> Exception | None:
    """Wait until the cluster is whole; what is there against it otherwise."""
    try:
        await target.whole()
    except (TimeoutError, FaultError) as error:
        return error
    return None


def _raw_clients(setting: Setting, shape: Shape) -> list[RawClient]:
    """Clients that go to any node; names are users', but for a user's second client."""
    names = [(_FOUNDER, _FOUNDER), *((user, user) for user in setting.moderated)]
    names += [(f"{user}b", user) for user in setting.moderated[:1]]
    names += [(f"raw{number}", f"raw{number}") for number in range(1, shape.raw + 1)]
    names += [(f"slow{number}", f"slow{number}") for number in range(1, shape.stalled + 1)]
    urls = [setting.target.url(node) for node in setting.target.nodes]
    clients = []
    for name, user in names:
        client = RawClient(name, user, setting, urls, stalls=name.startswith("slow"))
        mine = setting.rooms if user == _FOUNDER else client.random.sample(setting.rooms, max(1, shape.rooms - 1))
        client.seats = {room: Seat() for room in mine}
        clients.append(client)
    return clients


async def _prepare(setting: Setting) -> None:
    """Make the rooms, and the reader a member, so that reading in the end is no event any more."""
    for user, op in ((_FOUNDER, "create_room"), (_READER, "join")):
        for room in setting.rooms:
            await _insist(setting, user, op=op, room=room)


async def _insist(setting: Setting, user: str, **request: str) -> None:
    for attempt in range(_TRIES):
        node = setting.target.nodes[attempt % len(setting.target.nodes)]
        if await _ask_once(setting, node, user, **request):
            return
        await trio.sleep(0.5)
    raise TimeoutError(f"{request} was not answered with ok")


async def _ask_once(setting: Setting, node: str, user: str, **request: str) -> bool:
    """Whether a request was answered with ok."""
    codes: list[str] = []
    with contextlib.suppress(Lost):
        hello = await setting.hello(user)
        async with Wire.opened(setting.target.url(node), hello) as wire, trio.open_nursery() as nursery:
            nursery.start_soon(wire.read, lambda frame, at: None)
            with trio.move_on_after(_ANSWER_S), contextlib.suppress(Lost):
                codes.append((await wire.ask(**request)).code)
            nursery.cancel_scope.cancel()
    return codes == [""]


async def _settle(recorder: Recorder, clients: list[RawClient]) -> None:
    """Wait until nobody waits for an answer and nothing is pushed any more; or long enough."""
    with trio.move_on_after(_SETTLE_S):
        seen = -1
        while seen != recorder.pushes or any(client.unanswered or client.busy for client in clients):
            seen = recorder.pushes
            await trio.sleep(_QUIET_S)


async def _storms(setting: Setting, mean_s: float) -> None:
    random = Random(f"{setting.seed} storms")
    while math.isfinite(mean_s):
        await trio.sleep(random.expovariate(1 / mean_s))
        if not setting.enough:
            setting.storm()


async def _sample_often(setting: Setting, node: str) -> None:
    count = 0
    while True:
        await trio.sleep(_SAMPLE_S)
        count += 1
        await _sample_one(setting, node, figures=count % _FIGURES_EVERY == 0)


async def _sample(setting: Setting) -> None:
    for node in setting.target.nodes:
        await _sample_one(setting, node, figures=True)


async def _sample_one(setting: Setting, node: str, *, figures: bool) -> None:
    at = setting.recorder.now()
    look = await setting.target.look(node, figures=figures)
    if look is None:
        setting.recorder.note(Sample(node, at, False))
        return
    held = (look.memory_bytes, look.descriptors, look.tasks)
    setting.recorder.note(Sample(node, at, look.ready, look.readyz["applied"], *held))


async def _note_states(setting: Setting) -> None:
    for node in setting.target.nodes:
        look = await setting.target.look(node)
        if look is not None:
            readyz = look.readyz
            digests = {int(position): digest for position, digest in readyz["digests"].items()}
            digests[readyz["applied"]] = readyz["digest"]
            setting.recorder.note(State(node, setting.recorder.now(), readyz["epoch"], digests))
