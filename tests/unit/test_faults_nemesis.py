"""What a nemesis is going to do, by its seed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from io import BytesIO
from itertools import islice
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.faults.__main__ import main
from tests.faults.history import Fault, Recorder
from tests.faults.index import Index
from tests.faults.nemesis import FROZEN_S, LASTS_S, SHORT_S, Blow, ChoiceError, chosen, each_once, for_ever, strike_all
from tests.faults.plot import draw, marks
from tests.faults.target import FaultKind, Look, Target
from tests.scenarios.lab import Lab

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


@pytest.mark.parametrize(
    ("only", "once", "text"),
    [
        (["typo", "node killed"], False, "no such fault: typo; there are: host killed, node frozen, node killed, roll"),
        (["rollback"], False, "nothing would be done: rollback; a rollback needs a rolling update before it"),
        (["rolling update", "rollback"], True, "nothing would be done: rolling update, rollback; a short run leaves"),
    ],
)
def test_what_cannot_be_done_is_refused(only: list[str], once: bool, text: str) -> None:
    with pytest.raises(ChoiceError, match=f"^{text}"):
        chosen(FAULTS, only, once=once)


def test_faults_are_chosen_by_name() -> None:
    assert chosen(FAULTS, [], once=True) == FAULTS
    assert set(chosen(FAULTS, ["node killed", "host killed"], once=True)) == {"node killed", "host killed"}
    assert set(chosen(FAULTS, ["rolling update"], once=False)) == {"rolling update"}
    assert list(for_ever({}, seed=1)) == []


@pytest.mark.parametrize(("only", "seconds"), [("typo", "60"), ("rollback", "60"), ("rolling update", "inf")])
def test_a_wrong_choice_ends_the_command_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], only: str, seconds: str
) -> None:
    (tmp_path / "hosts.yml").touch()
    monkeypatch.setattr(Lab, "inventory", tmp_path)
    monkeypatch.setattr(Lab, "hosts", {"host1": {"node_type": "node1", "ansible_host": "10.0.0.1"}})
    assert main(["run", "--directory", str(tmp_path), "--only", only, "--seconds", seconds]) == 2
    assert only in capsys.readouterr().err
    assert not list(tmp_path.rglob("history.jsonl"))


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
