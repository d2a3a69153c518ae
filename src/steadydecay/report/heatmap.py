"""Norm ÷ predicted norm of every layer over time, as cells."""

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
    """Attributes:
    names: of the layers, first on top.
    edges: steps at which columns begin and end; one more than columns.
    ratios: (layers, columns); of each cell's records the one furthest from 1 in either direction, NaN without any.
    final: the last ratio of each layer.
    left_out: layers without any ratio: they have no decay.
    """

    names: tuple[str, ...]
    edges: FloatArray
    ratios: FloatArray
    final: FloatArray
    left_out: tuple[str, ...]


def heat_map_of(run: Run, columns: int = COLUMNS) -> HeatMap | None:
    """Of a run whose monitor logged its layers; None without."""
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
    """Norm ÷ the steady norm predicted from lr, decay and the measured size of updates, by layer."""
    return run.of_layers("norm_ratio")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """The name without ".weight", and with its middle left out if it is long.

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
