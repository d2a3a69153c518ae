"""The look of every figure of the page, readable without colour, on a phone, and without a mouse."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import plotly.graph_objects as go

from steadydecay.report.style import style_at

HEIGHT = 340
MOST_POINTS = 300


class Line(NamedTuple):
    """A curve, or points.

    Attributes:
        name: The name in the legend.
        x, y: Coordinates of equal length. Long curves are thinned out.
        style: 0, 1, 2, ... selects colour, dash and marker.
        mode: "lines" or "markers".
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: int
    mode: Literal["lines", "markers"] = "lines"


def traced(line: Line) -> go.Scatter:
    """Return the curve as a plotly trace."""
    every = max(1, -(-len(line.x) // MOST_POINTS))
    colour, dash, symbol = style_at(line.style).colour, style_at(line.style).dash, style_at(line.style).symbol
    return go.Scatter(
        x=list(line.x[::every]),
        y=list(line.y[::every]),
        name=line.name,
        mode=line.mode,
        line={"color": colour, "dash": dash, "width": 2.5},
        marker={"color": colour, "symbol": symbol, "size": 10},
    )


def chart(lines: Sequence[Line], x_title: str, y_title: str) -> go.Figure:
    """Draw a figure of several curves."""
    figure = laid_out(go.Figure([traced(line) for line in lines]))
    return figure.update_xaxes(title=x_title).update_yaxes(title=y_title, rangemode="tozero")


def laid_out(figure: go.Figure, height: int = HEIGHT) -> go.Figure:
    """Apply the common layout: the legend on top, and no dragging, which on a phone would block scrolling."""
    figure.update_layout(
        height=height,
        template="plotly_white",
        margin={"l": 60, "r": 10, "t": 10, "b": 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hovermode="x unified",
        dragmode=False,
    )
    axis = {"fixedrange": True, "exponentformat": "power"}
    return figure.update_xaxes(axis).update_yaxes(axis)
