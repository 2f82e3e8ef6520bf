"""Draws what operators see, for the documents: `python -m tests.scenarios.pictures DIRECTORY [MINUTES]`.

``dashboard.png`` from what the lab's Prometheus has seen: panels, queries and units are those of the dashboard, only
the pen is another. ``health.png`` from what `health.yml` prints.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.scenarios.lab import ROOT, Lab, playbook

DASHBOARD = ROOT / "roles" / "monitoring" / "files" / "dashboard.json"
STEP_S = 15
GRID = 24
ROW_INCHES = 0.32
WIDTH_INCHES = 15

Json = dict[str, Any]


def query(lab: Lab, expression: str, minutes: float) -> list[Json]:
    """The series of an expression over the last minutes."""
    now = time.time()
    asked = urlencode({"query": expression, "start": now - minutes * 60, "end": now, "step": STEP_S})
    answer = lab.ssh("host1", f"curl --silent 'http://127.0.0.1:9095/api/v1/query_range?{asked}'")
    found: list[Json] = json.loads(answer)["data"]["result"]
    return found


def name_of(legend: str, labels: dict[str, str]) -> str:
    """The legend with the labels' values in it."""
    for key, value in labels.items():
        legend = legend.replace("{{" + key + "}}", value)
    return legend


def as_text(value: float, unit: str) -> str:
    """A value as a person reads it."""
    if unit == "s":
        return f"{value:.0f} s" if value < 3600 else f"{value / 3600:.1f} h"
    return f"{value:g}"


def draw(lab: Lab, axes: Axes, panel: Json, minutes: float) -> None:
    """One panel."""
    axes.set_title(panel["title"], fontsize=9, loc="left")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [(t["legendFormat"], s) for t in panel["targets"] for s in query(lab, t["expr"], minutes)]
    if panel["type"] == "stat":
        axes.axis("off")
        last = ", ".join(as_text(float(series["values"][-1][1]), unit) for _, series in found)
        axes.text(0.02, 0.4, last or "-", fontsize=20, transform=axes.transAxes)
        return
    scale = {"bytes": 2**20, "s": 0.001, "percentunit": 0.01}.get(unit, 1)
    axes.set_ylabel({"bytes": "MiB", "s": "ms", "percentunit": "%", "reqps": "1/s"}.get(unit, ""), fontsize=7)
    now = time.time()
    for legend, series in found:
        times = [(at - now) / 60 for at, _ in series["values"]]
        heights = [float(value) / scale for _, value in series["values"]]
        axes.plot(times, heights, linewidth=1.2, label=name_of(legend, series["metric"]))
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.set_xlim(-minutes, 0)
    axes.grid(alpha=0.3)
    if found:
        axes.legend(fontsize=6, ncols=3, loc="upper left")


def draw_dashboard(file: Path, minutes: float) -> None:
    """All panels, each at its place."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES), layout="constrained")
    grid = figure.add_gridspec(rows, GRID)
    for panel in panels:
        place = panel["gridPos"]
        cell = grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]]
        draw(Lab(), figure.add_subplot(cell), panel, minutes)
    figure.savefig(file, dpi=80)


def draw_health(file: Path) -> None:
    """The table of the health check as a terminal shows it."""
    output = playbook("health").output
    table = textwrap.dedent(output[output.index("msg: |-\n") :].split("\n", 1)[1].split("\n\nTASK")[0])
    lines = table.splitlines()
    size = max(map(len, lines)) * 0.085, len(lines) * 0.19
    figure = plt.figure(figsize=size, facecolor="#1b1f24")
    figure.text(0.01, 0.98, table, family="monospace", fontsize=10, color="#e6e6e6", va="top")
    figure.savefig(file, dpi=100)


def main(directory: Path, minutes: float) -> None:
    draw_dashboard(directory / "dashboard.png", minutes)
    draw_health(directory / "health.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
