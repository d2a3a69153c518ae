"""One self-contained HTML page of several runs: no network, nothing beside the file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from steadydecay.experiments.compare import summarize
from steadydecay.report.runs import RunSeries, Series, load_runs, smoothed
from steadydecay.report.style import style_of, title_of
from steadydecay.report.table import HEADER, summary_rows

PANEL_HEIGHT = 300
LAYER_COLUMNS = 3
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; } .scroll { overflow-x: auto; } h2 { margin-top: 2rem; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
"""
LEAD = """With a learning rate that falls, weight decay proportional to it (AdamW, Scion) lets the weight norm fall and
the gradient norm rise; decay proportional to its square (ScionC) keeps both. Lines of one colour are one optimizer;
dotted lines are the steady-state norm that theory predicts for the learning rate, decay and momentum of that step
(arXiv 2512.08217, Eq. 3: independent updates, an LMO as correlated as its momentum)."""


def write_report(folder: Path, path: Path) -> Path:
    """Write a page on all runs below `folder`; one without an evaluation yet is drawn, and named below the table.

    Raises:
        ValueError: no run there.
    """
    runs = load_runs(folder)
    rows = summary_rows([summarize(folder / run.name) for run in runs if run.validation_loss[0]])
    unevaluated = ", ".join(run.name for run in runs if not run.validation_loss[0])
    note = f"<p>Not in the table, because not evaluated yet: {escape(unevaluated)}.</p>" if unevaluated else ""
    panels = _html(_overview(runs), plotly_script="inline")
    layers = _html(_layers(runs), plotly_script=False)
    configurations = "".join(f"<h3>{escape(run.name)}</h3><pre>{escape(_lines(run))}</pre>" for run in runs)
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>steadydecay: {escape(folder.name)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>
<h1>{escape(" · ".join(dict.fromkeys(title_of(run.optimizer) for run in runs)))}</h1><p>{LEAD}</p>
<div class="scroll">{_table(rows)}</div>{note}
<h2>Loss and norms of the hidden layers</h2>{panels}
<h2>Weight norm of each layer</h2>{layers}
<h2>Configurations</h2>{configurations}</body></html>""",
        encoding="utf-8",
    )
    return path


def _overview(runs: Sequence[RunSeries]) -> go.Figure:
    titles = ("training loss (nats, smoothed)", "validation loss (nats)", "weight norm ‖θ‖, dotted: predicted")
    titles += ("gradient norm ‖g‖ (smoothed)", "learning rate γ", "decay per step η")
    figure = make_subplots(3, 2, subplot_titles=titles, vertical_spacing=0.1)
    styles = style_of(run.optimizer for run in runs)
    for run in runs:
        window = max(1, len(run.loss[0]) // 50)
        panels = (smoothed(run.loss, window), run.validation_loss, run.hidden["weight_norm"])
        panels += (smoothed(run.hidden["gradient_norm"], window), run.hidden["lr"], run.hidden["decay"])
        for index, series in enumerate(panels):
            _add(figure, run, series, *styles[run.optimizer], place=(index // 2 + 1, index % 2 + 1), legend=index == 0)
        predicted = run.hidden["predicted_norm"]
        _add(figure, run, predicted, styles[run.optimizer][0], "dot", place=(2, 1), label=f"{run.name}: predicted")
    # A prediction far from any weight, such as AdamW's in a short run, must not flatten the measured norms.
    highest = max((max(run.hidden["weight_norm"][1], default=0.0) for run in runs), default=0.0)
    figure.update_yaxes(range=[0, 1.3 * highest], row=2, col=1)
    figure.update_yaxes(type="log", row=2, col=2)
    return _laid_out(figure, rows=3)


def _layers(runs: Sequence[RunSeries]) -> go.Figure:
    names = list(dict.fromkeys(name for run in runs for name in run.layers))
    rows = max(1, -(-len(names) // LAYER_COLUMNS))
    figure = make_subplots(rows, LAYER_COLUMNS, subplot_titles=[escape(n) for n in names], vertical_spacing=0.3 / rows)
    styles = style_of(run.optimizer for run in runs)
    for run in runs:
        for index, name in enumerate(names):
            place = (index // LAYER_COLUMNS + 1, index % LAYER_COLUMNS + 1)
            _add(figure, run, run.layers.get(name, ([], [])), *styles[run.optimizer], place=place, legend=index == 0)
    figure.update_annotations(font_size=12)
    return _laid_out(figure, rows)


def _add(
    figure: go.Figure,
    run: RunSeries,
    series: Series,
    colour: str,
    dash: str,
    *,
    place: tuple[int, int],
    legend: bool = False,
    label: str | None = None,
) -> None:
    line = {"color": colour, "dash": dash, "width": 2 if label is None else 1.5}
    name = escape(label or run.name)
    trace = go.Scatter(
        x=series[0], y=series[1], mode="lines", line=line, name=name, legendgroup=name, showlegend=legend or bool(label)
    )
    figure.add_trace(trace, row=place[0], col=place[1])


def _laid_out(figure: go.Figure, rows: int) -> go.Figure:
    figure.update_layout(
        height=PANEL_HEIGHT * rows + 100,
        template="plotly_white",
        margin={"l": 50, "r": 20, "t": 60, "b": 40},
        legend={"orientation": "h", "y": -0.12 / rows, "yanchor": "top"},
        hovermode="x unified",
    )
    return figure


def _html(figure: go.Figure, plotly_script: bool | str) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=plotly_script, config={"responsive": True})


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in HEADER)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def _lines(run: RunSeries) -> str:
    return "\n".join(f"{name}: {value}" for name, value in run.configuration.items())
