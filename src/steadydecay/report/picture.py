"""The claim in one picture: weight norm and gradient norm of the hidden layers, for papers and the README."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadydecay.report.runs import RunSeries, Series, load_runs, smoothed
from steadydecay.report.style import style_of, title_of

MATPLOTLIB_DASHES = {"solid": "-", "dash": "--", "longdash": (0, (8, 3)), "dashdot": "-."}


def write_picture(folder: Path, path: Path) -> Path:
    """Draw all runs below `folder` into a PNG at `path`."""
    runs = load_runs(folder)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    weight_axes, gradient_axes = figure.subplots(1, 2)
    for run in runs:
        _draw(weight_axes, run, runs, "weight_norm", window=1)
        _draw(gradient_axes, run, runs, "gradient_norm", window=_window(run.loss))
    weight_axes.set(title="weight norm ‖θ‖ of the hidden layers", xlabel="step")
    gradient_axes.set(title="gradient norm ‖g‖ of the hidden layers", xlabel="step")
    weight_axes.set_ylim(bottom=0)
    gradient_axes.set_ylim(0, 1.3 * max(_after_start(run.hidden["gradient_norm"]) for run in runs))
    weight_axes.legend(frameon=False)
    for axes in (weight_axes, gradient_axes):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return path


def _after_start(series: Series) -> float:
    """The largest smoothed value after the first tenth, where gradients are ten times as large."""
    values = smoothed(series, _window(series))[1]
    return max(values[len(values) // 10 :], default=1.0)


def _window(series: Series) -> int:
    return max(1, len(series[0]) // 25)


def _draw(axes: Axes, run: RunSeries, runs: list[RunSeries], measure: str, window: int) -> None:
    colour, dash = style_of(other.optimizer for other in runs)[run.optimizer]
    is_first = next(other for other in runs if other.optimizer == run.optimizer) is run
    label = title_of(run.optimizer) if is_first else None
    axes.plot(*smoothed(run.hidden[measure], window), color=colour, linestyle=MATPLOTLIB_DASHES[dash], label=label)
