"""Panels: the lines of each measure and their initially visible range, independent of any renderer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from steadydecay.report.measures import MEASURES, Measure
from steadydecay.report.runs import Run
from steadydecay.report.series import FloatArray, Series, smoothed, thinned
from steadydecay.report.variants import Variant

LineKind = Literal["measured", "raw", "predicted"]
# The smoothing window as a share of the logged steps.
WINDOW_SHARE = 0.02
# The share of a run's beginning in which losses and gradients are many times larger than later.
START_SHARE = 0.05
HEADROOM = 1.25


@final
@dataclass(frozen=True, eq=False)
class RunLine:
    """One run's measure. "raw" lies faintly behind its smoothed "measured" line, and "predicted" is dotted."""

    variant: Variant
    run: Run
    series: Series
    kind: LineKind = "measured"


@final
@dataclass(frozen=True, eq=False)
class MeasurePanel:
    """A picture with one y-axis.

    Attributes:
        measure: The measure that it shows.
        lines: Its lines, at least one of them measured.
        y_range: The range that is visible at first.
        note: What lies outside of this range, in words, or "".
    """

    measure: Measure
    lines: tuple[RunLine, ...]
    y_range: tuple[float, float]
    note: str


def measure_panels(variants: Sequence[Variant]) -> tuple[list[MeasurePanel], list[str]]:
    """Return the panels for which at least one run has numbers, and the titles of the others."""
    found = {measure.key: _panel(measure, variants) for measure in MEASURES}
    panels = [panel for panel in found.values() if panel is not None and found.get(panel.measure.instead_of) is None]
    lacking = [one for one in MEASURES if found[one.key] is None and not one.instead_of and not one.is_of_some]
    return panels, [one.title for one in lacking]


def _panel(measure: Measure, variants: Sequence[Variant]) -> MeasurePanel | None:
    lines = [line for variant in variants for run in variant.runs for line in _lines(measure, variant, run)]
    measured = [line for line in lines if line.kind == "measured"]
    if not measured:
        return None
    y_range = _visible_range(measure, measured)
    return MeasurePanel(measure, tuple(lines), y_range, _note(lines, y_range))


def _lines(measure: Measure, variant: Variant, run: Run) -> Iterator[RunLine]:
    series = measure.read(run).finite()
    if measure.is_log:
        series = series.where(series.values > 0)
    if not len(series):
        return
    if measure.is_noisy:
        yield RunLine(variant, run, thinned(series), "raw")
        series = smoothed(series, round(WINDOW_SHARE * len(series)))
    predicted = measure.predict(run).finite() if measure.predict else series.within(0, 0)
    if len(predicted):
        yield RunLine(variant, run, thinned(predicted), "predicted")
    yield RunLine(variant, run, thinned(series))


def _visible_range(measure: Measure, measured: Sequence[RunLine]) -> tuple[float, float]:
    """Fit the measured lines after their beginning, so that a far prediction or the first steps do not flatten them."""
    values = _after_start([line.series for line in measured])
    low, high = float(values.min()), float(values.max())
    if measure.is_log:
        return low / HEADROOM, high * HEADROOM
    if measure.from_zero and low >= 0:
        return 0.0, high * HEADROOM or 1.0
    if measure.zero_line:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _after_start(all_series: Sequence[Series]) -> FloatArray:
    start = START_SHARE * max(series.steps[-1] for series in all_series)
    later = np.concatenate([series.within(start, np.inf).values for series in all_series])
    return later if len(later) else np.concatenate([series.values for series in all_series])


def _note(lines: Sequence[RunLine], y_range: tuple[float, float]) -> str:
    """Name variants of whose predictions no point is visible, with their lowest value."""
    nearest: dict[str, float] = {}
    for line in lines:
        if line.kind == "predicted":
            label, low = line.variant.label, float(line.series.values.min())
            nearest[label] = min(low, nearest.get(label, low))
    names = ", ".join(f"{label} (at least {low:.3g})" for label, low in nearest.items() if low > y_range[1])
    return f"The prediction for {names} is above the picture. Double-click to see it." if names else ""
