"""From three machines to a thousand: a simulation of docs/scaling.md, which draws its picture and writes its tables.

Deterministic: the same seed and the same measured figures give the same result.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from bench import figures, outlook
from bench.crowd import Habits
from bench.directory import DOCS
from bench.table import number

DOCUMENT = DOCS.parent / "scaling.md"
JSON = DOCS / "scaling.json"
_NODES = (3, 30, 300, 1000)
_PARTITIONS = 4096
_SEED = 1
_DIGITS = 6

Report = dict[str, Any]
"""What is kept in docs/bench/scaling.json."""

_LINES: Sequence[tuple[str, str, float]] = (
    ("received_s", "messages received for its clients (1/s)", 1),
    ("deliveries_s", "deliveries to its clients (1/s)", 1),
    ("to_clients_bits_s", "bytes to its clients (Mbit/s)", 1e6),
    ("clients_cores", "CPU for its clients (cores)", 1),
    ("clients_cores_joined", "the same, if all deliveries were joined (cores)", 1),
    ("connections_bytes", "memory of its connections (MB)", 1e6),
    ("rooms_received", "rooms it receives", 1),
    ("partitions_kept", "partitions it keeps", 1),
    ("applied_s", "messages it applies (1/s)", 1),
    ("copies_s", "copies to other nodes (1/s)", 1),
    ("to_nodes_bits_s", "bytes to other nodes (Mbit/s)", 1e6),
    ("owner_cores", "CPU as an owner (cores)", 1),
    ("state_bytes", "memory of the state it keeps (MB)", 1e6),
    ("disk_bytes_day", "disk a day (GB)", 1e9),
    ("partitions_on_demand", "partitions, if it carried all it has a room of", 1),
    ("on_demand_cores", "CPU to apply those (cores)", 1),
)
"""Of a node: name, words, what it is divided by."""

_WHOLE: Sequence[tuple[str, str, str, float]] = (
    ("imbalance", "deliveries", "most loaded node by the median: deliveries", 1),
    ("imbalance", "deliveries_without_largest", "the same without the 100 largest rooms", 1),
    ("imbalance", "copies", "most loaded cell by the median: copies", 1),
    ("imbalance", "copies_without_largest", "the same without the 100 largest rooms", 1),
    ("imbalance", "partitions", "most loaded cell by the median: partitions", 1),
    ("moved", "cell_joins", "partitions that move when a cell joins (%)", 0.01),
    ("moved", "cell_joins_ideal", "the least possible: 1 / (cells + 1) (%)", 0.01),
    ("moved", "cell_lost", "partitions that move when a cell is given up (%)", 0.01),
    ("storm_s", "one", "all clients are back after the loss of a node (s)", 1),
    ("storm_s", "tenth", "after the loss of a tenth of the nodes (s)", 1),
    ("storm_s", "all", "after all nodes started anew (s)", 1),
)
"""Of the cluster: part, name, words, what it is divided by."""


def simulate(nodes: Sequence[int], partitions: int, seed: int, directory: Path = DOCS) -> Report:
    """All that the document says in figures.

    Raises:
        figures.NotMeasured: the benchmark has not been run.
    """
    known, machine, habits = figures.read(directory), outlook.Machine(), Habits()
    values = {name: figure.value for name, figure in known.items()}
    report = {
        "seed": seed,
        "partitions": partitions,
        "habits": asdict(habits),
        "machine": asdict(machine),
        "figures": {name: asdict(figure) for name, figure in known.items()},
        "today": outlook.today(values, machine, habits),
        "clusters": [outlook.cluster(count, partitions, values, machine, habits, seed) for count in nodes],
    }
    rounded: Report = _rounded(report)
    return rounded


def _rounded(value: Any) -> Any:
    """The same with as many digits as mean something, so that a rerun changes no line without a cause."""
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def tables(report: Report) -> dict[str, str]:
    """The document's tables, by the names of their marks."""
    return {
        "figures": _figures_table(report),
        "today": _today_table(report),
        "a node": _node_table(report),
        "the cluster": _cluster_table(report),
    }


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; all but the first columns are of numbers."""
    lines = ["---" if place < words else "---:" for place in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, lines, *rows))


def _figures_table(report: Report) -> str:
    def shown(value: float, unit: str) -> str:
        return f"{number(value * 1e6)} µs of CPU" if unit == "CPU s" else f"{number(value)} {unit}"

    found = report["figures"].values()
    rows = [(figure["meaning"], shown(figure["value"], figure["unit"]), figure["source"]) for figure in found]
    return _rows(("what", "figure", "measured by"), rows, words=3)


def _today_table(report: Report) -> str:
    def until(line: Report) -> str:
        return f"{outlook.MACHINES_MOST:,} or more" if line["nodes"] >= outlook.MACHINES_MOST else f"{line['nodes']:,}"

    each = report["machine"]["connections"]
    rows = [
        (
            line["limit"],
            f"{number(line['most'])} {line['unit']}".strip(),
            number(line["of_three"]),
            until(line),
            "" if line["nodes"] >= outlook.MACHINES_MOST else number(line["nodes"] * each),
        )
        for line in report["today"]
    ]
    return _rows(("limit", "there is", "needed with 3 nodes", "holds up to so many nodes", "connections"), rows)


def _node_table(report: Report) -> str:
    def cell(cluster: Report, name: str, scale: float) -> str:
        found = cluster["a_node"][name]
        return " / ".join(number(found[part] / scale) for part in ("median", "p99", "max"))

    rows = [(words, *(cell(cluster, name, scale) for cluster in report["clusters"])) for name, words, scale in _LINES]
    return _rows(("one node: median / p99 / most", *_heads(report)), rows)


def _cluster_table(report: Report) -> str:
    clusters = report["clusters"]
    rows = [
        ("connections", *(number(cluster["connections"]) for cluster in clusters)),
        ("cells", *(f"{cluster['cells']:,}" for cluster in clusters)),
        ("rooms", *(number(cluster["rooms"]) for cluster in clusters)),
        ("messages (1/s)", *(number(cluster["messages_s"]) for cluster in clusters)),
        ("deliveries (1/s)", *(number(cluster["deliveries_s"]) for cluster in clusters)),
        ("the same, if rooms had no limit (1/s)", *(number(cluster["deliveries_unlimited_s"]) for cluster in clusters)),
        ("memory of all accounts (MB)", *(number(cluster["accounts_bytes"] / 1e6) for cluster in clusters)),
    ]
    rows += [
        (words, *(number(cluster[part][name] / scale) for cluster in clusters)) for part, name, words, scale in _WHOLE
    ]
    return _rows(("the whole cluster", *_heads(report)), rows)


def _heads(report: Report) -> list[str]:
    return [f"{cluster['nodes']:,} nodes" for cluster in report["clusters"]]


def with_tables(text: str, report: Report) -> str:
    """The document with the report's tables between its marks."""
    for name, table in tables(report).items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text:
            raise ValueError(f"docs/scaling.md has no mark {begin}")
        text = re.sub(f"{begin}.*{end}", f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    return text


def draw(report: Report, directory: Path) -> None:
    """Write ``scaling.png``: what grows with the cluster, and what does not."""
    mpl.use("Agg")
    picture = Picture(figsize=(13.8, 3.2), layout="constrained")
    left, middle, right = picture.subplots(1, 3)
    clusters = report["clusters"]
    nodes = [cluster["nodes"] for cluster in clusters]
    applied = report["figures"]["stored_cpu_s"]["value"]
    _curve(
        left,
        "CPU of a node (cores)",
        nodes,
        {
            "applies all, as today": [cluster["messages_s"] * applied for cluster in clusters],
            "partitions on demand": [_median(cluster, "on_demand_cores") for cluster in clusters],
            "for its clients": [_median(cluster, "clients_cores") for cluster in clusters],
            "as an owner": [_median(cluster, "owner_cores") for cluster in clusters],
        },
    )
    parts = {"median": "median", "p99": "p99", "max": "most"}
    owned = {
        words: [cluster["a_node"]["state_bytes"][part] / 1e6 for cluster in clusters] for part, words in parts.items()
    }
    _curve(middle, "memory of the state that a node keeps (MB)", nodes, owned)
    storms = {"one": "one node", "tenth": "a tenth", "all": "all"}
    back = {words: [cluster["storm_s"][name] for cluster in clusters] for name, words in storms.items()}
    _curve(right, "all clients are back after the loss of (s)", nodes, back)
    picture.savefig(directory / "scaling.png", dpi=90)


def _median(cluster: Report, name: str) -> float:
    return float(cluster["a_node"][name]["median"])


def _curve(panel: Axes, title: str, nodes: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    for place, (words, values) in enumerate(lines.items()):
        panel.plot(nodes, values, marker="o", label=words, linestyle="--" if place == 1 else "-")
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("nodes", fontsize=8)
    panel.set_title(title, fontsize=8)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=_NODES, help="sizes of cluster, three or more each")
    parser.add_argument("--partitions", type=int, default=_PARTITIONS, help="into which rooms fall")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--docs", action="store_true", help="keep figures, picture and tables in docs")
    arguments = parser.parse_args()
    if min(arguments.nodes) < outlook.CELL:
        parser.error(f"--nodes: a cluster has at least {outlook.CELL}")
    if arguments.partitions < max(arguments.nodes):
        parser.error("--partitions: fewer than nodes leave cells without any")
    return arguments


def main() -> None:
    """Simulate, and print the tables."""
    arguments = _arguments()
    try:
        report = simulate(arguments.nodes, arguments.partitions, arguments.seed)
    except (figures.NotMeasured, FileNotFoundError) as error:
        sys.exit(f"Not all figures are there: {error}")
    print("\n\n".join(tables(report).values()))
    if arguments.docs:
        JSON.write_text(json.dumps(report, indent=1) + "\n")
        draw(report, DOCS)
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), report))


if __name__ == "__main__":
    main()
