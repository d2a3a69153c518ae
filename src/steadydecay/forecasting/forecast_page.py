"""A forecast as one self-contained HTML page, which needs no network and no other file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go

from steadydecay.forecasting.forecast_panels import ForecastLine, Panel
from steadydecay.run_log.atomic_write import replace_file

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1300px; margin: 2rem auto; padding: 0 1rem; color: #222; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 1rem; }
.panels section { min-width: 0; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
h2 span { display: block; font-weight: normal; }
"""
LEAD = """The figures show the norm ‖θ‖ (root mean square, of one layer of each kind) that theory expects if gradients
are independent. Dashed lines have a constant weight decay λ. Solid lines are corrected, so that λ follows the learning
rate. The dotted line is the steady state of the peak."""


def write_page(panels: Sequence[Panel], notes: Sequence[str], path: Path) -> Path:
    """Write the page, with `notes` above the panels."""
    said = "".join(f"<li>{escape(note)}</li>" for note in notes)
    # The library is included once, in the first panel.
    drawn = "".join(_section(panel, plotly_script="inline" if panel is panels[0] else False) for panel in panels)
    page = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>steadydecay forecast</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>
<h1>Forecast of the weight norms</h1><p>{LEAD}</p><ul>{said}</ul><div class="panels">{drawn}</div></body></html>
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [page.encode()])
    return path


def _section(panel: Panel, plotly_script: bool | str) -> str:
    name, _, description = map(escape, panel.title.partition("\n"))
    drawn = _figure(panel).to_html(full_html=False, include_plotlyjs=plotly_script, config={"responsive": True})
    return f"<section><h2>{name}<span>{description}</span></h2>{drawn}</section>"


def _figure(panel: Panel) -> go.Figure:
    figure = go.Figure([_trace(line) for line in panel.lines])
    figure.update_layout(
        height=330,
        template="plotly_white",
        margin={"l": 60, "r": 10, "t": 10, "b": 40},
        xaxis={"title": {"text": "step", "standoff": 5}},
        yaxis={"title": {"text": panel.y_label}, "rangemode": "tozero", "exponentformat": "power"},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
    )
    return figure


def _trace(line: ForecastLine) -> go.Scatter:
    is_points = line.dash == "markers"
    return go.Scatter(
        x=line.steps.tolist(),
        y=line.values.tolist(),
        mode="markers" if is_points else "lines",
        marker={"color": line.colour, "size": 4},
        line={"color": line.colour, "dash": "solid" if is_points else line.dash},
        name=line.name,
    )
