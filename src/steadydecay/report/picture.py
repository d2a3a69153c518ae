"""Draw the panels as a picture for papers and the README, as PNG, SVG or PDF."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadydecay.report.figure_file import write_figure
from steadydecay.report.measure_panels import MeasurePanel, RunLine, measure_panels
from steadydecay.report.runs import Run, load_runs
from steadydecay.report.variants import Variant, variants_of

DASHES = {"solid": "-", "dash": (0, (5, 2)), "longdash": (0, (8, 3)), "dashdot": "-.", "longdashdot": (0, (8, 2, 2, 2))}
MARKERS = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "triangle-down": "v"}
MARKERS |= {"cross": "P", "x": "X", "star": "*"}
MARKERS_PER_LINE = 7
COLUMNS = 3
# The picture in the README shows the claim in two panels.
CLAIM = ("weight-norm", "gradient-norm")
PANEL_INCHES = (4.4, 3.2)


def write_picture(folder: Path, path: Path) -> Path:
    """Draw weight norm and gradient norm of all runs below `folder` into a file at `path`.

    Raises:
        ValueError: The folder contains no run, or the suffix is not supported (see `write_figure`).
    """
    variants = variants_of(load_runs(folder))
    return _write([panel for panel in measure_panels(variants)[0] if panel.measure.key in CLAIM], variants, path)


def write_panels(runs: Sequence[Run], path: Path) -> Path:
    """Draw all panels of the page into a file at `path`. Raises the errors of `write_figure`."""
    variants = variants_of(runs)
    return _write(measure_panels(variants)[0], variants, path)


def _write(panels: Sequence[MeasurePanel], variants: Sequence[Variant], path: Path) -> Path:
    columns = min(COLUMNS, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place, panel in zip(axes, panels, strict=False):
        _draw(place, panel)
    for empty in axes[len(panels) :]:
        empty.set_axis_off()
    if panels:
        _add_legend(axes[0], variants, any(line.kind == "predicted" for panel in panels for line in panel.lines))
    else:
        axes[0].text(0.5, 0.5, "Nothing has been logged yet.", ha="center")
    return write_figure(figure, path)


def _draw(axes: Axes, panel: MeasurePanel) -> None:
    for line in panel.lines:
        _draw_line(axes, line)
    axes.set_title(panel.measure.title, fontsize=10, parse_math=False)
    axes.set_xlabel("step")
    axes.set_ylabel(panel.measure.axis, parse_math=False)
    if panel.measure.is_log:
        axes.set_yscale("log", subs=(2, 5))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    if panel.measure.zero_line:
        axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylim(panel.y_range)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_line(axes: Axes, line: RunLine) -> None:
    style = line.variant.style
    x, y = line.series.steps, line.series.values
    if line.kind == "raw":
        axes.plot(x, y, color=style.colour, linewidth=0.6, alpha=0.2)
    elif line.kind == "predicted":
        axes.plot(x, y, color=style.colour, linewidth=1.2, linestyle=":")
    else:
        every = max(1, len(x) // MARKERS_PER_LINE)
        look = {"linestyle": DASHES[style.dash], "marker": MARKERS[style.symbol], "markevery": every, "markersize": 4}
        axes.plot(x, y, color=style.colour, linewidth=1.6, **look)


def _add_legend(axes: Axes, variants: Sequence[Variant], has_predictions: bool) -> None:
    """Label lines without points, so that a name with $ or _ appears as text and each variant appears once."""
    handles = [
        axes.plot([], [], color=v.style.colour, linestyle=DASHES[v.style.dash], marker=MARKERS[v.style.symbol])[0]
        for v in variants
    ]
    labels = [variant.label for variant in variants]
    if has_predictions:
        handles.append(axes.plot([], [], color="grey", linestyle=":")[0])
        labels.append("predicted")
    legend = axes.legend(handles, labels, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
