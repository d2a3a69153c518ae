"""Figures as data: panels of lines, which become a PNG and a CSV with the same numbers."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadydecay.report.picture import DASHES, MARKERS
from steadydecay.report.runs import Run
from steadydecay.report.series import Series, smoothed, thinned
from steadydecay.report.style import style_at
from steadydecay.run_log.atomic_write import replace_file

MOST_COLUMNS = 3
MOST_POINTS = 200
SMOOTHED_SHARE = 0.02
# Between the smallest and the largest of the seeds.
BAND_OPACITY = 0.15


@final
@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        label: for the legend.
        x, y: the same number of values.
        low, high: around y, or empty.
        is_points: drawn as points without a line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_points: bool = False


@final
@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title, x_axis, y_axis: texts.
        lines: what is drawn; lines with the same label have one style.
        is_log_x, is_log_y: of the axes.
        from_zero: the y-axis begins there.
    """

    title: str
    x_axis: str
    y_axis: str
    lines: Sequence[Line]
    is_log_x: bool = False
    is_log_y: bool = False
    from_zero: bool = False


def over_seeds(
    runs: Mapping[str, Sequence[Run]], read: Callable[[Run], Series], *, is_noisy: bool = False
) -> list[Line]:
    """For each label the mean of a measure over its runs, with the smallest and the largest around it."""
    lines = []
    for label, of_label in runs.items():
        found = [read(run).finite() for run in of_label]
        if is_noisy:
            found = [smoothed(series, max(1, round(SMOOTHED_SHARE * len(series)))) for series in found]
        found = [series for series in found if len(series)]
        if not found:
            continue
        steps = thinned(found[0], MOST_POINTS).steps
        values = np.array([np.interp(steps, series.steps, series.values) for series in found])
        columns = (steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0))
        x, y, low, high = (column.tolist() for column in columns)
        lines.append(Line(label, x, y, *((low, high) if len(found) > 1 else ((), ()))))
    return lines


def write_figure(panels: Sequence[Panel], path: Path) -> None:
    """Draw the panels, three in a row, into a PNG."""
    columns = min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    for axes, panel in zip(places, panels, strict=False):
        _draw(axes, panel, labels)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    replace_file(path, [content.getvalue()])


def write_lines(panels: Sequence[Panel], path: Path) -> None:
    """The same numbers as a table: panel, line, x, y, low, high."""
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    table.writerow(("panel", "line", "x", "y", "low", "high"))
    for panel in panels:
        for line in panel.lines:
            around = zip(line.low, line.high, strict=True) if line.low else [("", "")] * len(line.x)
            for x, y, (low, high) in zip(line.x, line.y, around, strict=True):
                table.writerow((panel.title, line.label, *map(_short, (x, y, low, high))))
    replace_file(path, [content.getvalue().encode()])


def _draw(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for line in panel.lines:
        style = style_at(labels.index(line.label))
        shape: dict[str, Any] = (
            {"linestyle": "", "marker": MARKERS[style.symbol]} if line.is_points else {"linestyle": DASHES[style.dash]}
        )
        axes.plot(line.x, line.y, color=style.colour, label=line.label, **shape)
        if line.low:
            axes.fill_between(line.x, line.low, line.high, color=style.colour, alpha=BAND_OPACITY, linewidth=0)
    axes.set(title=panel.title, xlabel=panel.x_axis, ylabel=panel.y_axis)
    if panel.is_log_x:
        axes.set_xscale("log", base=2)
    if panel.is_log_y:
        axes.set_yscale("log")
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
