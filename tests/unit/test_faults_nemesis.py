"""What a nemesis is going to do, by its seed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from io import BytesIO
from itertools import islice
from pathlib import Path

from trio.testing import MockClock

from tests.faults.history import Fault, Recorder
from tests.faults.index import Index
from tests.faults.nemesis import FROZEN_S, LASTS_S, SHORT_S, Blow, each_once, for_ever, strike_all
from tests.faults.plot import draw, marks
from tests.faults.target import FaultKind, Look, Target

from .fault_histories import clean


def _nothing(_: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


NODES = ["node1", "node2", "node3"]
NAMES = ["node killed", "node frozen", "host killed", "rolling update", "rollback"]
FAULTS = {name: FaultKind(NODES, 10, _nothing) for name in NAMES}


def test_a_short_run_has_each_kind_once_that_is_not_slow() -> None:
    blows = list(each_once(FAULTS, seed=3))
    assert sorted(blow.name for blow in blows) == ["host killed", "node frozen", "node killed"]
    assert {blow.lasts_s for blow in blows} == {SHORT_S}


def test_a_seed_decides_everything() -> None:
    first, again, other = (list(islice(for_ever(FAULTS, seed), 40)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert list(each_once(FAULTS, 1)) == list(each_once(FAULTS, 1))


def test_every_round_has_all_kinds_and_a_rollback_follows_its_update() -> None:
    blows = list(islice(for_ever(FAULTS, seed=1), 8 * len(FAULTS)))
    names = [blow.name for blow in blows]
    assert all(sorted(names[at : at + 5]) == sorted(NAMES) for at in range(0, len(names), 5))
    assert all(names[at + 1] == "rollback" for at, name in enumerate(names) if name == "rolling update")
    assert {blow.at for blow in blows} == set(NODES)
    frozen = [blow.lasts_s for blow in blows if blow.name == "node frozen"]
    assert FROZEN_S[0] <= min(frozen) <= max(frozen) <= FROZEN_S[1]
    assert all(LASTS_S[0] <= blow.lasts_s <= LASTS_S[1] for blow in blows if blow.name != "node frozen")


class Patient(Target):
    """A cluster to which nothing happens."""

    nodes = NODES

    def url(self, node: str) -> str:
        return node

    async def token(self, user: str) -> None:
        return None

    async def look(self, node: str, *, figures: bool = False) -> Look | None:
        return None

    async def whole(self) -> None:
        return None

    @property
    def faults(self) -> Mapping[str, FaultKind]:
        return FAULTS


async def test_a_run_does_not_end_with_an_update_that_is_not_taken_back(autojump_clock: MockClock) -> None:
    blows = [Blow(name, "node1", 5.0, 1.0) for name in ("node killed", "rolling update", "rollback", "host killed")]
    told: list[str] = []
    await strike_all(Patient(), Recorder(BytesIO()), iter(blows), 8.0, told.append)
    assert [line.split(" s  ")[1] for line in told if "(" in line] == [
        f"{name} (node1) for 5.0 s" for name in ("node killed", "rolling update", "rollback")
    ]


def test_a_history_becomes_a_picture(tmp_path: Path) -> None:
    draw(Index(clean()), tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_more_kinds_than_colours_are_told_apart(tmp_path: Path) -> None:
    names = [f"kind {number:02}" for number in range(25)]
    faults = [Fault(name, "n2", 10 + at, 11 + at, limit_s=10) for at, name in enumerate(names)]
    draw(Index([*clean(), *faults]), tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert len({(mark["facecolor"], mark["hatch"]) for mark in marks(names).values()}) == 25
