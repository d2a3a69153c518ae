"""The claim in one picture: weight norm and gradient norm of the hidden layers, for papers and the README."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadydecay.report.runs import RunSeries, load_runs, smoothed
from steadydecay.report.style import style_of, title_of

MATPLOTLIB_DASHES = {"solid": "-", "dash": "--", "longdash": (0, (8, 3)), "dashdot": "-."}


def write_picture(folder: Path, path: Path) -> Path:
    """Draw all runs below `folder` into a PNG at `path`."""
    runs = load_runs(folder)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    weight_axes, gradient_axes = figure.subplots(1, 2)
    for run in runs:
        _draw(weight_axes, run, runs, "weight_norm", window=1)
        _draw(gradient_axes, run, runs, "gradient_norm", window=max(1, len(run.loss[0]) // 25))
    weight_axes.set(title="weight norm ‖θ‖ of the hidden layers", xlabel="step")
    gradient_axes.set(title="gradient norm ‖g‖ of the hidden layers", xlabel="step", yscale="log")
    weight_axes.legend(frameon=False)
    for axes in (weight_axes, gradient_axes):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return path


def _draw(axes: Axes, run: RunSeries, runs: list[RunSeries], measure: str, window: int) -> None:
    colour, dash = style_of(other.optimizer for other in runs)[run.optimizer]
    is_first = next(other for other in runs if other.optimizer == run.optimizer) is run
    label = title_of(run.optimizer) if is_first else None
    axes.plot(*smoothed(run.hidden[measure], window), color=colour, linestyle=MATPLOTLIB_DASHES[dash], label=label)
