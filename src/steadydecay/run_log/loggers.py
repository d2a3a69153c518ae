"""Where the flat dict of `sd.watch(...).metrics()` goes: one function for each logger, and no import of any.

if step % 10 == 0:
    to_tensorboard(writer, monitor.metrics(), step)
"""

from collections.abc import Mapping
from typing import Any, TextIO

from steadydecay.run_log.record import json_line

Metrics = Mapping[str, float]


def to_tensorboard(writer: Any, metrics: Metrics, step: int) -> None:
    """One scalar for each measure, in a torch.utils.tensorboard.SummaryWriter."""
    for name, value in metrics.items():
        writer.add_scalar(name, value, step)


def to_wandb(run: Any, metrics: Metrics, step: int) -> None:
    """All measures at one step of a Weights & Biases run, which `wandb.init` returns; steps must not go back."""
    run.log(dict(metrics), step=step)


def to_trackio(run: Any, metrics: Metrics, step: int) -> None:
    """All measures at one step of a trackio run, which `trackio.init` returns."""
    run.log(dict(metrics), step=step)


def to_json_lines(file: TextIO, metrics: Metrics, step: int) -> None:
    """One line {"step": ..., name: value, ...} of strict JSON, flushed; NaN and infinities as in the run log."""
    file.write(json_line({"step": step, **metrics}))
    file.flush()
