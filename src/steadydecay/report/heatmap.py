"""The norm of every layer divided by its predicted norm over time, as cells."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from steadydecay.report.runs import Run
from steadydecay.report.series import FloatArray, Series

COLUMNS = 20
LONGEST_NAME = 24


@final
@dataclass(frozen=True, eq=False)
class HeatMap:
    """The cells of a heat map.

    Attributes:
        names: The names of the layers, the first on top.
        edges: The steps at which columns begin and end, one more than there are columns.
        ratios: For each (layer, column), the ratio of its records that is furthest from 1, or NaN without records.
        final: The last ratio of each layer.
        left_out: The layers without any ratio, because they have no decay.
    """

    names: tuple[str, ...]
    edges: FloatArray
    ratios: FloatArray
    final: FloatArray
    left_out: tuple[str, ...]


def heat_map_of(run: Run, columns: int = COLUMNS) -> HeatMap | None:
    """Make the heat map of a run whose monitor logged its layers; return None without such records."""
    logged = {name: _legal(series) for name, series in ratios_of(run).items()}
    by_layer = {name: series for name, series in logged.items() if len(series)}
    if not by_layer:
        return None
    steps = np.unique(np.concatenate([series.steps for series in by_layer.values()]))
    edges = np.linspace(0, steps[-1], min(columns, len(steps)) + 1)
    return HeatMap(
        names=tuple(by_layer),
        edges=edges,
        ratios=np.array([_cells(series, edges) for series in by_layer.values()]),
        final=np.array([series.last for series in by_layer.values()]),
        left_out=tuple(logged.keys() - by_layer.keys()),
    )


def ratios_of(run: Run) -> dict[str, Series]:
    """Return each layer's norm ÷ the steady norm that follows from lr, decay and the measured size of updates."""
    return run.of_layers("norm_ratio")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Remove ".weight" from a name, and shorten its middle if it is long.

    >>> shortened("blocks.10.attention.output.weight", 20), shortened("embedding.weight")
    ('blocks.10…ion.output', 'embedding')
    """
    name = name.removesuffix(".weight") or name
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[-(longest - 1 - head) :]}"


def _legal(series: Series) -> Series:
    finite = series.finite()
    return finite.where(finite.values > 0)


def _cells(series: Series, edges: FloatArray) -> list[float]:
    column = np.clip(np.searchsorted(edges, series.steps, side="left") - 1, 0, len(edges) - 2)
    return [_furthest(series.values[column == index]) for index in range(len(edges) - 1)]


def _furthest(ratios: FloatArray) -> float:
    return float(ratios[np.abs(np.log(ratios)).argmax()]) if len(ratios) else math.nan
