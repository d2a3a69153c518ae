"""Panels and heat maps as plotly figures. All names are escaped, because plotly parses its texts as HTML."""

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from steadydecay.report.heatmap import HeatMap, shortened
from steadydecay.report.measure_panels import MeasurePanel, RunLine
from steadydecay.report.variants import Variant

PANEL_HEIGHT = 300
MARGIN = {"l": 52, "r": 92, "t": 8, "b": 40}
# The distance in pixels between the centres of two labels at the ends of lines.
LABEL_DISTANCE = 14
MOST_LABELS = 12
LONGEST_LABEL = 11
# Ratios from a half to double have distinct colours. The scale is log₂, so that 1/2 and 2 are equally far from 1.
COLOUR_RANGE = 1.0
# Blue is below the prediction, white equal, orange above. Colour-blind readers can tell them apart; cells show the
# number.
COLOUR_SCALE = [[0.0, "#1B5E9B"], [0.25, "#7FB2DA"], [0.5, "#F7F7F7"], [0.75, "#F1A860"], [1.0, "#B3510B"]]
COLOUR_BAR = {"thickness": 10, "tickvals": [-1, 0, 1], "ticktext": ["½", "1", "2"], "len": 1.0, "outlinewidth": 0}
ROW_HEIGHT = 22
TALLEST_MAP = 900
# Rows that are lower than this have no room for a number, which then appears on hover.
LEGIBLE_ROW = 15


def as_text(name: str) -> str:
    """Escape a name so that plotly shows it unchanged, since plotly parses texts as HTML, and as TeX between dollars.

    >>> as_text("<b>$x$")
    '&lt;b&gt;&#36;x&#36;'
    """
    return html.escape(name).replace("$", "&#36;")


def panel_figure(panel: MeasurePanel) -> go.Figure:
    """Draw the panel. The page sets the colours of text, grid and background."""
    figure = go.Figure()
    for line in panel.lines:
        figure.add_trace(_trace(line))
    figure.update_layout(
        template=None,
        height=PANEL_HEIGHT,
        margin=MARGIN,
        showlegend=False,
        hovermode="closest",
        annotations=_end_labels(panel),
    )
    figure.update_xaxes(
        title_text="step", range=[0, max(line.series.steps[-1] for line in panel.lines)], zeroline=False
    )
    figure.update_yaxes(
        range=_axis_range(panel), type="log" if panel.measure.is_log else "linear", zeroline=panel.measure.zero_line
    )
    if panel.measure.is_log:
        figure.update_yaxes(dtick="D2" if panel.y_range[1] < 100 * panel.y_range[0] else 1, tickformat="~g")
    return figure


def heat_map_figure(cells: HeatMap) -> go.Figure:
    """Draw one row per layer, with its final ratio beside its name and time running from left to right."""
    names = [as_text(name) for name in cells.names]
    rows = list(range(len(names)))
    ratios = np.clip(cells.ratios, 2.0**-20, 2.0**20)
    height = min(TALLEST_MAP, ROW_HEIGHT * len(rows)) + 90
    figure = go.Figure(
        go.Heatmap(
            x=cells.edges.astype(np.float32),
            y=rows,
            z=np.clip(np.log2(ratios), -COLOUR_RANGE, COLOUR_RANGE).astype(np.float32),
            text=[[_ratio_text(ratio) for ratio in row] for row in cells.ratios],
            customdata=[[name] * cells.ratios.shape[1] for name in names],
            texttemplate="%{text}" if height >= LEGIBLE_ROW * len(rows) else None,
            hovertemplate="%{customdata}<br>until step %{x:.0f}<br>norm ÷ predicted norm: %{text}<extra></extra>",
            hoverongaps=False,
            zmin=-COLOUR_RANGE,
            zmax=COLOUR_RANGE,
            colorscale=COLOUR_SCALE,
            xgap=1,
            ygap=1,
            colorbar=COLOUR_BAR,
        )
    )
    labelled = rows[:: max(1, -(-len(rows) * 12 // height))]
    labels = [f"{as_text(shortened(cells.names[row]))}  {_ratio_text(cells.final[row])}" for row in labelled]
    figure.update_layout(template=None, height=height, margin={"l": 60, "r": 10, "t": 8, "b": 40})
    figure.update_yaxes(
        tickvals=labelled,
        ticktext=labels,
        range=[len(rows) - 0.5, -0.5],
        automargin="left",
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(title_text="step", showgrid=False, zeroline=False)
    return figure


def _ratio_text(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.2f}" if ratio < 9.95 else f"{ratio:.0f}"


def _trace(line: RunLine) -> go.Scatter:
    style = line.variant.style
    is_measured = line.kind == "measured"
    dash = {"measured": style.dash, "raw": "solid", "predicted": "dot"}[line.kind]
    suffix = {"measured": "", "raw": ": each step", "predicted": ": predicted"}[line.kind]
    return go.Scatter(
        x=line.series.steps.astype(np.int32),
        y=line.series.values.astype(np.float32),
        mode="lines+markers" if is_measured else "lines",
        line={"color": style.colour, "dash": dash, "width": {"measured": 2, "raw": 1, "predicted": 1.6}[line.kind]},
        marker={"symbol": style.symbol, "size": 7, "maxdisplayed": 7},
        opacity=_opacity(line),
        name=as_text(line.run.name + suffix),
        hovertemplate="step %{x}: %{y:.4g}",
        hoverinfo="skip" if line.kind == "raw" else None,
    )


def _opacity(line: RunLine) -> float:
    """Predictions of several seeds overlap, and the dots of one would fill the gaps of another."""
    is_repeated = line.kind == "predicted" and line.run is not line.variant.runs[0]
    return 0.22 if line.kind == "raw" or is_repeated else 1.0


def _on_axis(panel: MeasurePanel, value: float) -> float:
    return math.log10(value) if panel.measure.is_log else value


def _axis_range(panel: MeasurePanel) -> tuple[float, float]:
    low, high = panel.y_range
    return _on_axis(panel, low), _on_axis(panel, high)


def _end_labels(panel: MeasurePanel) -> list[dict[str, object]]:
    """Place each variant's name at the end of its (first) line, moved apart where lines end close to each other."""
    ends = _ends(panel)[:MOST_LABELS]
    low, high = _axis_range(panel)
    height = PANEL_HEIGHT - MARGIN["t"] - MARGIN["b"]
    wanted = [(min(max(value, low), high) - low) / (high - low) * height for _, value in ends]
    return [
        {
            "x": 1,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 4,
            "y": min(max(value, low), high),
            "yshift": place - want,
            "text": as_text(f"{variant.style.glyph} {shortened(variant.label, LONGEST_LABEL)}"),
            "showarrow": False,
            "font": {"size": 11},
        }
        for (variant, value), want, place in zip(ends, wanted, moved_apart(wanted, LABEL_DISTANCE), strict=True)
    ]


def _ends(panel: MeasurePanel) -> list[tuple[Variant, float]]:
    """Return where the first measured line of each variant ends, in coordinates of the axis."""
    ends: dict[str, tuple[Variant, float]] = {}
    for line in panel.lines:
        if line.kind == "measured":
            ends.setdefault(line.variant.label, (line.variant, _on_axis(panel, line.series.last)))
    return list(ends.values())


def moved_apart(wanted: Sequence[float], distance: float) -> list[float]:
    """Return positions in the order of `wanted`, at least 0 and `distance` apart; clusters stay around their mean.

    >>> moved_apart([11.0, 50.0, 10.0], 10.0)
    [15.5, 50.0, 5.5]
    """
    clusters: list[list[float]] = []
    for place in sorted(wanted):
        clusters.append([place])
        while len(clusters) > 1 and _first(clusters[-1], distance) - _last(clusters[-2], distance) < distance:
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    places = [_first(cluster, distance) + rank * distance for cluster in clusters for rank in range(len(cluster))]
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    return [place for _, place in sorted(zip(order, places, strict=True))]


def _first(cluster: Sequence[float], distance: float) -> float:
    return max(0.0, sum(cluster) / len(cluster) - (len(cluster) - 1) / 2 * distance)


def _last(cluster: Sequence[float], distance: float) -> float:
    return _first(cluster, distance) + (len(cluster) - 1) * distance
