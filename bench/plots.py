"""The figures as bars: one picture, a panel for each line of the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from bench.rows import ROWS
from bench.table import Figure, Results, Rounds, median_of

_OURS, _THEIRS = "#1f6f8b", "#b0b7bf"
_COLUMNS = 3


def draw(results: Results, directory: Path) -> None:
    """Write ``rows.png``."""
    mpl.use("Agg")
    panels = [(name, figure) for name in results for figure in ROWS[name].figures]
    lines = -(-len(panels) // _COLUMNS)
    picture = Picture(figsize=(4.6 * _COLUMNS, 2.3 * lines), layout="constrained")
    axes = picture.subplots(lines, _COLUMNS, squeeze=False).flat
    for place, panel in enumerate(axes):
        if place < len(panels):
            _bars(panel, panels[place][1], results[panels[place][0]])
        else:
            panel.set_axis_off()
    picture.savefig(directory / "rows.png", dpi=90)


def _bars(panel: Axes, figure: Figure, measured: Mapping[str, Rounds]) -> None:
    medians = {name: value for name, rounds in measured.items() if (value := median_of(rounds, figure)) is not None}
    colours = [_OURS if name.startswith("chat") else _THEIRS for name in medians]
    panel.barh(list(medians), list(medians.values()), color=colours)
    panel.invert_yaxis()
    panel.set_title(f"{figure.title}\n({figure.unit}, {'less' if figure.less else 'more'} is better)", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
