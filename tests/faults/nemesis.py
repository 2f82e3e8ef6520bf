"""Who does things to a cluster: which, where, when and for how long, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import trio

from tests.faults.history import Recorder
from tests.faults.target import FaultKind, Target, struck

SLOW = frozenset({"rolling update", "rollback", "all log disks full"})
"""Kinds that take minutes: not part of a short run. A rollback needs an update before it, so they go together."""
FROZEN_S = (1.0, 30.0)
LASTS_S = (4.0, 12.0)
SHORT_S = 4.0
CALM_S = (1.0, 4.0)


@dataclass(frozen=True)
class Blow:
    """One thing that is to be done.

    Attributes:
        name: of the kind of fault.
        at: one of its targets.
        lasts_s: for how long.
        calm_s: how long nothing is done before it.
    """

    name: str
    at: str
    lasts_s: float
    calm_s: float


class ChoiceError(Exception):
    """The kinds of faults that were asked for cannot be done."""


def chosen(faults: Mapping[str, FaultKind], only: Collection[str], *, once: bool) -> dict[str, FaultKind]:
    """The kinds of faults that are asked for; all, if none is named.

    Args:
        once: in a short run.

    Raises:
        ChoiceError: there is no such kind, or none of them would ever strike.
    """
    unknown = sorted(set(only) - set(faults))
    if unknown:
        raise ChoiceError(f"no such fault: {', '.join(unknown)}; there are: {', '.join(sorted(faults))}")
    found = {name: kind for name, kind in faults.items() if not only or name in only}
    if next(each_once(found, 0) if once else for_ever(found, 0), None) is None:
        why = "a short run leaves slow faults out" if once else "a rollback needs a rolling update before it"
        raise ChoiceError(f"nothing would be done: {', '.join(found) or 'there are no faults'}; {why}")
    return found


def each_once(faults: Mapping[str, FaultKind], seed: int) -> Iterator[Blow]:
    """Every kind that is not slow, once and briefly, in an order of chance."""
    random = Random(f"{seed} nemesis")
    names = sorted(set(faults) - SLOW)
    random.shuffle(names)
    for name in names:
        yield Blow(name, random.choice(list(faults[name].targets)), SHORT_S, CALM_S[0])


def for_ever(faults: Mapping[str, FaultKind], seed: int) -> Iterator[Blow]:
    """Rounds of all kinds, each round in an order of its own; none if nothing can strike."""
    random = Random(f"{seed} nemesis")
    while names := sorted(set(faults) - {"rollback"}):
        random.shuffle(names)
        for name in names:
            yield _blow(faults, name, random)
            if name == "rolling update" and "rollback" in faults:
                yield _blow(faults, "rollback", random)


def _blow(faults: Mapping[str, FaultKind], name: str, random: Random) -> Blow:
    lasts_s = random.uniform(*(FROZEN_S if "frozen" in name else LASTS_S))
    return Blow(name, random.choice(list(faults[name].targets)), lasts_s, random.uniform(*CALM_S))


async def strike_all(
    target: Target,
    recorder: Recorder,
    blows: Iterator[Blow],
    seconds: float,
    tell: Callable[[str], None],
) -> None:
    """One blow after the other, the cluster whole in between, until they or the time are at an end.

    Args:
        seconds: after which no further blow is begun.
        tell: is told what happens, a line at a time.

    Raises:
        TimeoutError: the cluster did not come back by itself.
        FaultError: something could not be done to it.
    """
    begin = trio.current_time()
    for blow in blows:
        await trio.sleep(blow.calm_s)
        since_s = trio.current_time() - begin
        if since_s > seconds and blow.name != "rollback":  # an update that was begun is taken back
            return
        tell(f"{since_s:7.1f} s  {blow.name} ({blow.at}) for {blow.lasts_s:.1f} s")
        async with struck(target, recorder, blow.name, blow.at):
            await trio.sleep(blow.lasts_s)
        tell(f"{trio.current_time() - begin:7.1f} s  whole again")
