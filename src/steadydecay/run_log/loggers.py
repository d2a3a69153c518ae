"""Pass the flat dict of `sd.watch(...).metrics()` to a logger, with one function per logger and no import of any.

if step % 10 == 0:
    to_tensorboard(writer, monitor.metrics(), step)
"""

from collections.abc import Mapping
from typing import Any, TextIO

from steadydecay.run_log.record import json_line

Metrics = Mapping[str, float]


def to_tensorboard(writer: Any, metrics: Metrics, step: int) -> None:
    """Write one scalar for each measure to a torch.utils.tensorboard.SummaryWriter."""
    for name, value in metrics.items():
        writer.add_scalar(name, value, step)


def to_wandb(run: Any, metrics: Metrics, step: int) -> None:
    """Log all measures at one step of a Weights & Biases run, as `wandb.init` returns it. Steps must not decrease."""
    run.log(dict(metrics), step=step)


def to_trackio(run: Any, metrics: Metrics, step: int) -> None:
    """Log all measures at one step of a trackio run, as `trackio.init` returns it."""
    run.log(dict(metrics), step=step)


def to_json_lines(file: TextIO, metrics: Metrics, step: int) -> None:
    """Write one line {"step": ..., name: value, ...} of strict JSON and flush it.

    NaN and infinities are written as in the run log.
    """
    file.write(json_line({"step": step, **metrics}))
    file.flush()
