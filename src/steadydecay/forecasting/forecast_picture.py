"""A forecast as a picture: PNG, SVG or PDF."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from steadydecay.forecasting.forecast_panels import COLUMNS, ForecastLine, Panel
from steadydecay.report.figure_file import write_figure

DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (8, 3))}
DASHES |= {"longdashdot": (0, (8, 3, 1, 3))}
TITLE_WIDTH = 44


def write_picture(panels: Sequence[Panel], path: Path) -> Path:
    """Draw the panels into a file at `path`, whose suffix selects the format. Raises the errors of `write_figure`."""
    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles = {}
    for panel, axes in zip(panels, grid.flat, strict=False):
        for line in panel.lines:
            (handles[line.name],) = axes.plot(line.steps, line.values, label=line.name, **_look(line))
        axes.set_title("\n".join(part[:TITLE_WIDTH] for part in panel.title.split("\n")), fontsize=9, parse_math=False)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_ylabel(panel.y_label, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    return write_figure(figure, path)


def _look(line: ForecastLine) -> dict[str, object]:
    if line.dash == "markers":
        return {"color": line.colour, "linestyle": "none", "marker": "o", "markersize": 3}
    return {"color": line.colour, "linestyle": DASHES[line.dash]}
