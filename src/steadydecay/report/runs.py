"""Runs of a folder as series over steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.recipes.run_log import read_log
from steadydecay.recipes.train import LOG_NAME

Series = tuple[list[int], list[float]]


@final
@dataclass(frozen=True)
class RunSeries:
    """A run's log as series (steps, values).

    Attributes:
        name: its folder.
        optimizer: for colours: runs of one optimizer look alike.
        configuration: the first record.
        loss, validation_loss: in nats.
        hidden: measure ("weight_norm", "predicted_norm", "gradient_norm", "decay", "lr") of the hidden role.
        layers: Frobenius norm of each layer by name.
    """

    name: str
    optimizer: str
    configuration: dict[str, Any]
    loss: Series
    validation_loss: Series
    hidden: dict[str, Series]
    layers: dict[str, Series]


def load_runs(folder: Path) -> list[RunSeries]:
    """Every run below `folder`, by name.

    Raises:
        ValueError: there is none.
    """
    logs = sorted(folder.glob(f"*/{LOG_NAME}"))
    if not logs:
        raise ValueError(f"folder is {folder}, which holds no */{LOG_NAME}; give the --out of a compare")
    return [load_run(path) for path in logs]


def load_run(path: Path) -> RunSeries:
    """The run whose log is at `path`."""
    log = read_log(path)
    steps = [record for record in log.records if record["kind"] == "step"]
    validations = [record for record in log.records if record["kind"] == "validation"]
    with_layers = [record for record in steps if "layers" in record]
    layer_names = with_layers[0]["layers"] if with_layers else ()
    return RunSeries(
        name=path.parent.name,
        optimizer=log.configuration.get("optimizer", "unknown"),
        configuration=log.configuration,
        loss=_series(steps, "loss"),
        validation_loss=_series(validations, "loss"),
        hidden={
            measure: _series(steps, measure, "hidden")
            for measure in ("weight_norm", "predicted_norm", "gradient_norm", "decay", "lr")
        },
        layers={name: _series(with_layers, "layers", name) for name in layer_names},
    )


def smoothed(series: Series, window: int) -> Series:
    """Mean over the last `window` values, fewer at the start."""
    steps, values = series
    if window < 2:
        return series
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    starts = [max(0, end - window) for end in range(1, len(sums))]
    return steps, [(sums[end] - sums[start]) / (end - start) for end, start in enumerate(starts, 1)]


def _series(records: list[dict[str, Any]], *keys: str) -> Series:
    steps, values = [], []
    for record in records:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            steps.append(record["step"])
            values.append(float(value))
    return steps, values
