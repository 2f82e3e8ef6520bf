"""The simulation behind docs/scaling.md, held against counting by hand; and the document against the simulation."""

from __future__ import annotations

import json
import random
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import figures, footprint, scaling
from bench.crowd import Class, Crowd, Habits, binomial, gather, in_partitions, on_nodes, reached, split
from bench.directory import DOCS
from bench.outlook import CELL, Limit, Machine, by_cell, carried, cluster, limits, nodes_until, spread
from bench.placement import moved, owners, storm
from node.state.records import JoinRoom

HABITS = Habits()
VALUES = {name: figure.value for name, figure in figures.read(DOCS).items()}
REPORT: dict[str, Any] = json.loads(scaling.JSON.read_text())


@pytest.fixture
def chance() -> random.Random:
    """The same every time."""
    return random.Random(5)


# The document


def test_the_tables_are_what_the_program_prints_of_the_kept_result() -> None:
    text = scaling.DOCUMENT.read_text()
    assert scaling.with_tables(text, REPORT) == text, "run `python -m bench.scaling --docs`"


def test_the_kept_result_is_of_the_kept_figures_and_of_what_is_assumed_now() -> None:
    now = scaling.simulate([], REPORT["partitions"], REPORT["seed"])
    same = {name: REPORT[name] for name in now if name != "clusters"}
    assert json.loads(json.dumps(now)) == {**same, "clusters": []}, "run `python -m bench.scaling --docs`"


def test_a_smallest_cluster_simulated_anew_is_the_kept_one() -> None:
    smallest = REPORT["clusters"][0]
    anew = scaling.simulate([smallest["nodes"]], REPORT["partitions"], REPORT["seed"])
    assert json.loads(json.dumps(anew["clusters"])) == [smallest], "run `python -m bench.scaling --docs`"


def test_a_document_without_a_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="no mark <!-- figures -->"):
        scaling.with_tables("nothing", REPORT)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    scaling.draw(REPORT, tmp_path)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_text_says_of_the_tables_holds() -> None:
    """Where new figures break this, the words of docs/scaling.md have to change as well."""
    assert [line["limit"].split()[0] for line in REPORT["today"]][:3] == ["hours", "disk", "core"]
    assert VALUES["stored_cpu_s"] > VALUES["written_cpu_s"] > VALUES["joined_cpu_s"]
    for found in REPORT["clusters"][1:]:
        assert found["a_node"]["partitions_on_demand"]["median"] > 0.99 * REPORT["partitions"]
    thousand = REPORT["clusters"][-1]
    node = {name: part["median"] for name, part in thousand["a_node"].items()}
    assert node["deliveries_s"] > node["received_s"] + node["copies_s"]
    assert node["applied_s"] < REPORT["clusters"][0]["a_node"]["applied_s"]["median"]
    uneven = thousand["imbalance"]
    assert 1.7 < uneven["copies"] < 2.5
    assert uneven["copies_without_largest"] > 0.9 * uneven["copies"]
    assert uneven["deliveries"] < 1.1


@pytest.mark.parametrize("arguments", ["--nodes 2", "--partitions 10", "--nodes x"])
def test_wrong_use_is_2(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scaling", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        scaling.main()
    assert ended.value.code == 2


# The figures


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A directory of figures that may be changed."""
    for name in ("results.json", "footprint.json"):
        (tmp_path / name).write_text((DOCS / name).read_text())
    return tmp_path


def change(directory: Path, row: str, rounds: list[dict[str, float]]) -> None:
    """Say what was measured of the node in a row."""
    path = directory / "results.json"
    results = json.loads(path.read_text())
    results["rows"].setdefault(row, {})["chat"] = rounds
    path.write_text(json.dumps(results))


def test_figures_are_medians_of_what_is_kept(measured: Path) -> None:
    change(measured, "stored", [{"server_cpu": cpu, "sent_s": 1000.0} for cpu in (0.1, 0.9, 0.2)])
    change(measured, "latency", [{"server_cpu": 0.16, "sent_s": 160}])
    found = figures.read(measured)
    assert found["stored_cpu_s"].value == pytest.approx(0.2 / 1000)
    assert found["written_cpu_s"].value == pytest.approx((0.16 / 160 - 0.2 / 1000) / 200)
    assert "row stored" in found["stored_cpu_s"].source


def test_the_row_of_idle_connections_is_taken_when_it_is_measured(measured: Path) -> None:
    change(measured, "idle", [{"bytes_each": 12_345.0}])
    found = figures.read(measured)
    assert (found["connection_bytes"].value, found["connection_bytes"].source[-14:]) == (12_345, "row idle, chat")


def test_a_row_that_was_not_measured_is_named_with_the_remedy(measured: Path) -> None:
    change(measured, "storm", [])
    with pytest.raises(figures.NotMeasured, match="row storm: run `make bench`"):
        figures.read(measured)


def test_bytes_are_those_that_the_node_takes() -> None:
    found = footprint.measure(messages=2000)
    kept = json.loads((DOCS / "footprint.json").read_text())
    assert found == {name: pytest.approx(value, rel=0.3) for name, value in kept.items()}


def test_a_footprint_of_what_was_refused_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"):
        footprint.state_bytes(tmp_path, [JoinRoom(user="u", ts=1, room="nowhere")])


# The crowd


def test_sizes_follow_the_law_within_their_bounds() -> None:
    crowd = gather(1_000_000, HABITS)
    sizes = [part.size for part in crowd.classes]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(10**HABITS.zipf * sizes[9], rel=0.01)
    assert sizes[-1] >= HABITS.smallest
    assert crowd.members == pytest.approx(5_000_000, rel=0.005)
    assert gather(20_000_000, HABITS).classes[0].size == HABITS.largest


def test_classes_are_the_law_counted_room_by_room() -> None:
    crowd = gather(30_000, HABITS)
    scale = crowd.classes[0].members
    counted = [scale * rank**-HABITS.zipf for rank in range(1, crowd.rooms + 1)]
    assert counted[-1] == pytest.approx(HABITS.smallest, rel=0.05)
    assert sum(counted) == pytest.approx(crowd.members, rel=0.02)
    assert sum(size * HABITS.room_s(size) for size in counted) == pytest.approx(crowd.deliveries_s, rel=0.02)


def test_nobody_says_more_in_a_room_than_can_be_read() -> None:
    assert HABITS.room_s(10) == pytest.approx(10 * HABITS.says_s / HABITS.rooms_each)
    assert HABITS.room_s(100_000) == HABITS.room_limit_s


@pytest.mark.parametrize(("count", "share"), [(40, 0.01), (40, 0.9), (1000, 0.3), (3, 0.5), (10**6, 1e-6)])
def test_a_binomial_has_its_mean_and_variance(chance: random.Random, count: int, share: float) -> None:
    drawn = [binomial(chance, count, share) for _ in range(20_000)]
    assert min(drawn) >= 0
    assert max(drawn) <= count
    assert statistics.mean(drawn) == pytest.approx(count * share, rel=0.03)
    assert statistics.variance(drawn) == pytest.approx(count * share * (1 - share), rel=0.05)


@pytest.mark.parametrize(("count", "share", "given"), [(0, 0.5, 0), (7, 0.0, 0), (7, 1.0, 7)])
def test_a_binomial_at_its_ends(chance: random.Random, count: int, share: float, given: int) -> None:
    assert binomial(chance, count, share) == given


@pytest.mark.parametrize(("count", "parts"), [(0, 3), (5, 1), (7, 20), (1_000_000, 30)])
def test_what_is_dealt_out_sums_up(chance: random.Random, count: int, parts: int) -> None:
    dealt = split(chance, count, parts)
    assert (len(dealt), sum(dealt), min(dealt) >= 0) == (parts, count, True)
    if count > 1000:
        assert statistics.pstdev(dealt) < 3 * (count / parts) ** 0.5


@pytest.mark.parametrize("nodes", [3, 50])
def test_nodes_deliver_together_what_is_delivered(chance: random.Random, nodes: int) -> None:
    crowd = gather(nodes * 2000, HABITS)
    loads = on_nodes(chance, crowd, nodes)
    assert sum(load.members for load in loads) == crowd.members
    assert sum(load.deliveries_s for load in loads) == pytest.approx(crowd.deliveries_s)
    assert all(load.rooms <= load.members for load in loads)


def test_partitions_hold_everything_and_copy_what_nodes_receive(chance: random.Random) -> None:
    crowd = gather(100_000, HABITS)
    kept, sides = in_partitions(chance, crowd, 256, 10), on_nodes(chance, crowd, 10)
    assert sum(load.rooms for load in kept) == crowd.rooms
    assert sum(load.members for load in kept) == pytest.approx(crowd.members)
    assert sum(load.messages_s for load in kept) == pytest.approx(crowd.messages_s)
    received = sum(side.messages_s for side in sides)
    assert sum(load.deliveries_s for load in kept) == pytest.approx(received, rel=0.01)


def test_nodes_receive_what_is_counted_user_by_user(chance: random.Random) -> None:
    crowd = Crowd(HABITS, [Class(1, 50), Class(200, 1000)])
    counted: Counter[int] = Counter()
    for size in [50] + [5] * 200:
        counted.update({chance.randrange(4) for _ in range(size)})
    found = on_nodes(chance, crowd, 4)
    assert sum(load.rooms for load in found) == pytest.approx(sum(counted.values()), rel=0.05)
    assert reached(5, 4) == pytest.approx(
        statistics.mean(len({chance.randrange(4) for _ in range(5)}) for _ in range(9999)), rel=0.02
    )


def test_partitions_on_demand_are_those_with_a_room(chance: random.Random) -> None:
    counted = [len({chance.randrange(64) for _ in range(100)}) for _ in range(500)]
    assert carried(100, 64) == pytest.approx(statistics.mean(counted), rel=0.02)


def test_the_largest_and_the_others_are_all() -> None:
    crowd = gather(30_000, HABITS)
    large, other = crowd.parted(100)
    assert (large.rooms, large.rooms + other.rooms) == (100, crowd.rooms)
    assert large.deliveries_s + other.deliveries_s == pytest.approx(crowd.deliveries_s)


# Placement


def test_a_cell_that_joins_takes_its_share_and_nothing_else_moves() -> None:
    before, after = owners(4096, range(20)), owners(4096, range(21))
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {20}
    assert moved(before, after) == pytest.approx(1 / 21, rel=0.2)
    counts = Counter(before)
    assert len(counts) == 20
    assert max(counts.values()) < 1.35 * 4096 / 20


def test_of_a_cell_that_goes_only_its_own_partitions_move_and_to_all_others() -> None:
    before, after = owners(4096, range(20)), owners(4096, [cell for cell in range(20) if cell != 7])
    assert {old for old, new in zip(before, after, strict=True) if old != new} == {7}
    assert len({new for old, new in zip(before, after, strict=True) if old == 7}) == 19


def test_a_storm_takes_as_long_as_its_busiest_survivor(chance: random.Random) -> None:
    assert storm(chance, 1000, 1, 100.0, 0.0) == pytest.approx(10)
    assert 5 <= storm(chance, 1000, 2, 100.0, 0.1) < 6
    assert 29 < storm(chance, 1000, 1, 100.0, 30.0) < 31, "who comes late is the last"


# The arithmetic


def test_a_limit_holds_up_to_the_node_that_is_too_many() -> None:
    limit = Limit("rooms", "", lambda crowd, nodes: crowd.members / nodes**0.5, 1e6)
    nodes = nodes_until(limit, Machine(), HABITS)
    needs = [limit.need(gather(count * 10_000, HABITS), count) for count in (nodes, nodes + 1)]
    assert needs[0] <= limit.most < needs[1]


def test_today_a_node_of_three_needs_what_is_calculated_by_hand() -> None:
    crowd, needs = gather(30_000, HABITS), {}
    for limit in limits(VALUES, Machine()):
        needs[limit.name.split()[0]] = limit.need(crowd, 3)
    own = crowd.deliveries_s / 3
    assert needs["core"] == crowd.messages_s * VALUES["stored_cpu_s"] + own * VALUES["written_cpu_s"]
    assert needs["hours"] == pytest.approx(30 * 86_400 * crowd.messages_s / 4 / VALUES["applied_s"])
    assert needs["messages"] == crowd.messages_s
    assert needs["memory"] == pytest.approx(
        crowd.rooms * VALUES["room_bytes"] + crowd.members * VALUES["standing_bytes"] + 30_000 * VALUES["account_bytes"]
    )


def test_cells_keep_what_their_partitions_hold(chance: random.Random) -> None:
    kept = in_partitions(chance, gather(30_000, HABITS), 64, 3)
    cells = by_cell(kept, [partition % 2 for partition in range(64)], 2)
    assert cells[1].messages_s == pytest.approx(sum(load.messages_s for load in kept[1::2]))
    assert sum(load.rooms for load in cells) == sum(load.rooms for load in kept)


def test_a_cluster_of_one_cell_keeps_everything_on_every_node() -> None:
    found: Any = cluster(CELL, 64, VALUES, Machine(connections=1000), HABITS, seed=1)
    crowd, node = gather(3000, HABITS), found["a_node"]
    state_bytes = crowd.rooms * VALUES["room_bytes"] + crowd.members * VALUES["standing_bytes"]
    assert node["state_bytes"]["max"] == pytest.approx(state_bytes)
    assert node["applied_s"]["median"] == pytest.approx(crowd.messages_s)
    assert node["partitions_kept"]["median"] == 64
    assert found["moved"]["cell_joins"] == pytest.approx(0.5, rel=0.2)
    assert found["deliveries_unlimited_s"] >= found["deliveries_s"] == crowd.deliveries_s


def test_another_seed_deals_otherwise() -> None:
    first, same, other = (cluster(CELL, 64, VALUES, Machine(1000), HABITS, seed) for seed in (1, 1, 2))
    assert first == same != other


def test_a_spread_is_of_nodes_that_there_are() -> None:
    assert spread([*range(1, 101)]) == {"median": 50, "p99": 99, "max": 100}
