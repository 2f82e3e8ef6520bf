"""What a node has to do in ever larger clusters: as the program is today, and as docs/scaling.md would have it.

Pure; the seed is passed in. Results are plain numbers under names, as docs/bench/scaling.json keeps them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bench.crowd import Crowd, Habits, Load, gather, in_partitions, on_nodes
from bench.placement import moved, owners, storm
from bench.table import percentile
from node.client_link import backoff_s
from node.config import Settings

CELL = 3
"""Machines that keep the same partitions: one log with three replicas, as the cluster of today."""

MACHINES_MOST = 10_000
_LARGEST_ROOMS = 100
_DAY_S, _HOUR_S, _YEAR_DAYS = 86_400, 3600, 365
_MEGA = 1e6

Values = Mapping[str, float]


@dataclass(frozen=True)
class Machine:
    """What is assumed of one machine.

    Attributes:
        connections: that it has.
        cores: that the node may fill; one, as one process is one thread of Python.
        state_bytes: memory that may be taken by state.
        network_bits_s: what its network carries.
        disk_bytes: what may be kept.
        rebuild_s: how long a node with an empty disk may take until it serves.
    """

    connections: int = 10_000
    cores: float = 1.0
    state_bytes: float = 4e9
    network_bits_s: float = 1e9
    disk_bytes: float = 4e12
    rebuild_s: float = 3600.0


@dataclass(frozen=True)
class Limit:
    """One thing that ends somewhere.

    Attributes:
        need: of a node, with a crowd on so many nodes.
        most: what there is of it.
        scale: what both are divided by, to be in ``unit``.
    """

    name: str
    unit: str
    need: Callable[[Crowd, int], float]
    most: float
    scale: float = 1.0


@lru_cache
def crowd_on(nodes: int, connections: int, habits: Habits) -> Crowd:
    """The crowd that fills so many nodes."""
    return gather(nodes * connections, habits)


def limits(figures: Values, machine: Machine) -> list[Limit]:
    """Where the design of today ends, in which each node applies all messages and keeps all state."""
    kept_bytes = figures["stored_message_bytes"] + figures["logged_message_bytes"]
    frame_bits = 8 * figures["frame_bytes"]

    def a_day(crowd: Crowd) -> float:
        return crowd.messages_s * crowd.habits.day_share * _DAY_S

    def cpu(crowd: Crowd, nodes: int) -> float:
        return crowd.messages_s * figures["stored_cpu_s"] + crowd.deliveries_s / nodes * figures["written_cpu_s"]

    def state(crowd: Crowd, nodes: int) -> float:
        accounts = nodes * machine.connections * figures["account_bytes"]
        return crowd.rooms * figures["room_bytes"] + crowd.members * figures["standing_bytes"] + accounts

    def bits(crowd: Crowd, nodes: int) -> float:
        return crowd.deliveries_s / nodes * frame_bits + crowd.messages_s * 8 * figures["logged_message_bytes"]

    return [
        Limit(
            "hours to rebuild a node from the log of 30 days",
            "h",
            lambda crowd, _: 30 * a_day(crowd) / figures["applied_s"],
            machine.rebuild_s,
            _HOUR_S,
        ),
        Limit(
            "disk of each node for a year",
            "TB",
            lambda crowd, _: _YEAR_DAYS * a_day(crowd) * kept_bytes,
            machine.disk_bytes,
            1e12,
        ),
        Limit("core of each node", "core", cpu, machine.cores),
        Limit(
            "messages through the log's leader", "messages/s", lambda crowd, _: crowd.messages_s, figures["stream_s"]
        ),
        Limit("memory of each node's state", "GB", state, machine.state_bytes, 1e9),
        Limit("network of each node", "Mbit/s", bits, machine.network_bits_s, _MEGA),
        Limit("connections of each node", "", lambda *_: machine.connections, Settings().max_connections),
    ]


def nodes_until(limit: Limit, machine: Machine, habits: Habits) -> int:
    """The most nodes, full of clients, that stay within a limit; :data:`MACHINES_MOST` if none is too many."""
    low, high = 0, MACHINES_MOST
    while low < high:
        nodes = (low + high + 1) // 2
        if limit.need(crowd_on(nodes, machine.connections, habits), nodes) <= limit.most:
            low = nodes
        else:
            high = nodes - 1
    return low


def today(figures: Values, machine: Machine, habits: Habits) -> list[dict[str, float | str]]:
    """For each limit what a node of three needs, what there is, and how many nodes it allows; the first first."""
    crowd = crowd_on(CELL, machine.connections, habits)
    found: list[dict[str, float | str]] = [
        {
            "limit": limit.name,
            "unit": limit.unit,
            "of_three": limit.need(crowd, CELL) / limit.scale,
            "most": limit.most / limit.scale,
            "nodes": nodes_until(limit, machine, habits),
        }
        for limit in limits(figures, machine)
    ]
    return sorted(found, key=lambda line: float(line["nodes"]))


def spread(values: Sequence[float]) -> dict[str, float]:
    """What a node in the middle has, what one in a hundred exceeds, and the most."""
    return {"median": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}


def imbalance(values: Sequence[float]) -> float:
    """The most loaded one by the one in the middle."""
    return max(values) / percentile(values, 0.5)


def cluster(
    nodes: int, partitions: int, figures: Values, machine: Machine, habits: Habits, seed: int
) -> dict[str, object]:
    """One size of the cluster in the next design: all machines have clients, every three are a cell with partitions.

    Args:
        nodes: machines, at least three.
        partitions: into which rooms fall.
        figures: as :mod:`bench.figures` has them.
    """
    chance = random.Random(f"{seed} {nodes}")  # noqa: S311 - a simulation
    crowd = crowd_on(nodes, machine.connections, habits)
    large, other = crowd.parted(_LARGEST_ROOMS)
    quiet_sides = on_nodes(chance, other, nodes)
    sides = _both(quiet_sides, on_nodes(chance, large, nodes))
    cells = range(nodes // CELL)
    kept_by = owners(partitions, cells)
    quiet_partitions = in_partitions(chance, other, partitions, nodes)
    kept = _both(quiet_partitions, in_partitions(chance, large, partitions, nodes))
    quiet_cells = by_cell(quiet_partitions, kept_by, len(cells))
    cell_loads = by_cell(kept, kept_by, len(cells))
    return {
        "nodes": nodes,
        "connections": nodes * machine.connections,
        "cells": len(cells),
        "rooms": crowd.rooms,
        "members": crowd.members,
        "messages_s": crowd.messages_s,
        "deliveries_s": crowd.deliveries_s,
        "deliveries_unlimited_s": _unlimited(nodes, machine, habits).deliveries_s,
        "a_node": {
            **clients_side(sides, figures, machine),
            **owners_side(cell_loads, kept_by, figures, habits),
            **on_demand(sides, crowd, partitions, figures),
        },
        "imbalance": {
            "deliveries": imbalance([side.deliveries_s for side in sides]),
            "deliveries_without_largest": imbalance([side.deliveries_s for side in quiet_sides]),
            "copies": imbalance([load.deliveries_s for load in cell_loads]),
            "copies_without_largest": imbalance([load.deliveries_s for load in quiet_cells]),
            "partitions": imbalance([kept_by.count(cell) for cell in cells]),
        },
        "moved": moves(partitions, kept_by, len(cells)),
        "storm_s": storms(chance, nodes, machine.connections, figures),
        "accounts_bytes": nodes * machine.connections * figures["account_bytes"],
    }


def _unlimited(nodes: int, machine: Machine, habits: Habits) -> Crowd:
    """The same people in rooms in which everybody says as much as they like."""
    return crowd_on(nodes, machine.connections, replace(habits, room_limit_s=math.inf))


def _both(some: Sequence[Load], more: Sequence[Load]) -> list[Load]:
    return [one + other for one, other in zip(some, more, strict=True)]


def by_cell(partitions: Sequence[Load], kept_by: Sequence[int], cells: int) -> list[Load]:
    """What each cell keeps."""
    loads = [Load() for _ in range(cells)]
    for load, cell in zip(partitions, kept_by, strict=True):
        loads[cell] += load
    return loads


def clients_side(sides: Sequence[Load], figures: Values, machine: Machine) -> dict[str, dict[str, float]]:
    """What nodes do for their clients. To take a message from its owner is counted like a delivery that is written."""
    frame_bits, each_s = 8 * figures["frame_bytes"], figures["written_cpu_s"]
    return {
        "received_s": spread([side.messages_s for side in sides]),
        "deliveries_s": spread([side.deliveries_s for side in sides]),
        "to_clients_bits_s": spread([side.deliveries_s * frame_bits for side in sides]),
        "clients_cores": spread([(side.deliveries_s + side.messages_s) * each_s for side in sides]),
        "clients_cores_joined": spread(
            [side.deliveries_s * figures["joined_cpu_s"] + side.messages_s * each_s for side in sides]
        ),
        "connections_bytes": spread([machine.connections * figures["connection_bytes"]] * len(sides)),
        "rooms_received": spread([side.rooms for side in sides]),
    }


def owners_side(
    cells: Sequence[Load], kept_by: Sequence[int], figures: Values, habits: Habits
) -> dict[str, dict[str, float]]:
    """What nodes do as one of three that keep a cell's partitions: each applies all, and feeds a third of the nodes."""
    frame_bits = 8 * figures["frame_bytes"]
    day_bytes = (figures["stored_message_bytes"] + figures["logged_message_bytes"]) * habits.day_share * _DAY_S
    copy_s = figures["written_cpu_s"]
    return {
        "partitions_kept": spread([kept_by.count(cell) for cell in range(len(cells))]),
        "applied_s": spread([load.messages_s for load in cells]),
        "copies_s": spread([load.deliveries_s / CELL for load in cells]),
        "to_nodes_bits_s": spread([load.deliveries_s / CELL * frame_bits for load in cells]),
        "owner_cores": spread(
            [load.messages_s * figures["stored_cpu_s"] + load.deliveries_s / CELL * copy_s for load in cells]
        ),
        "state_bytes": spread(
            [load.rooms * figures["room_bytes"] + load.members * figures["standing_bytes"] for load in cells]
        ),
        "disk_bytes_day": spread([load.messages_s * day_bytes for load in cells]),
    }


def carried(rooms: float, partitions: int) -> float:
    """In how many partitions so many rooms are, on average."""
    return partitions * (1 - math.pow(1 - 1 / partitions, rooms))


def on_demand(sides: Sequence[Load], crowd: Crowd, partitions: int, figures: Values) -> dict[str, dict[str, float]]:
    """What a node did if it carried, whole, each partition in which its clients have a room."""
    shares = [carried(side.rooms, partitions) / partitions for side in sides]
    return {
        "partitions_on_demand": spread([share * partitions for share in shares]),
        "on_demand_cores": spread([share * crowd.messages_s * figures["stored_cpu_s"] for share in shares]),
    }


def moves(partitions: int, kept_by: Sequence[int], cells: int) -> dict[str, float]:
    """The share of partitions that move when a cell joins, and when one is given up; of one machine lost none does."""
    return {
        "cell_joins": moved(kept_by, owners(partitions, range(cells + 1))),
        "cell_joins_ideal": 1 / (cells + 1),
        "cell_lost": moved(kept_by, owners(partitions, range(1, cells))) if cells > 1 else 0.0,
        "cell_lost_ideal": 1 / cells if cells > 1 else 0.0,
    }


def storms(chance: random.Random, nodes: int, connections: int, figures: Values) -> dict[str, float]:
    """Seconds until all clients are back after the loss of one node, of a tenth, and after all have started anew."""
    opened_s, spread_s = figures["opened_s"], backoff_s(0)
    tenth = max(1, nodes // 10)
    return {
        "one": storm(chance, connections, nodes - 1, opened_s, spread_s),
        "tenth": storm(chance, tenth * connections, nodes - tenth, opened_s, spread_s),
        "all": storm(chance, connections, 1, opened_s, spread_s),
    }
