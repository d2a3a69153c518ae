"""A forecast as plain values, for other programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from steadydecay.forecasting.forecast_panels import MOST_POINTS
from steadydecay.forecasting.kind_forecast import KindForecast
from steadydecay.forecasting.trajectories import Trajectory


def forecast_record(forecasts: Sequence[KindForecast], steps: int, notes: Sequence[str]) -> dict[str, Any]:
    """Map names to numbers, texts, lists and mappings. Norms are ‖θ‖_F of one layer after each step in `at_step`."""
    at_step = np.unique(np.linspace(0, steps, min(MOST_POINTS, steps + 1)).round().astype(int))
    return {
        "steps": steps,
        "at_step": at_step.tolist(),
        "layers": [_of_kind(forecast, at_step) for forecast in forecasts],
        "notes": list(notes),
    }


def _of_kind(forecast: KindForecast, at_step: np.ndarray) -> dict[str, Any]:
    kind, measured, at_end = forecast.kind, forecast.measured, forecast.at_end
    return {
        "names": list(kind.names),
        "role": kind.settings["role"],
        "norm": kind.settings.get("norm"),
        "shape": list(kind.shape),
        "count": kind.count,
        "lr": float(kind.settings["lr"]),
        "initial_norm": kind.initial_norm_sq**0.5,
        "decay": {one.rule: _of_trajectory(one, at_step, kind.entries) for one in forecast.by_rule},
        "measured": measured and {"at_step": measured.steps.tolist(), "norm": measured.values.tolist()},
        "with_measured_updates": forecast.from_updates and _of_trajectory(forecast.from_updates, at_step, kind.entries),
        "suggestion": forecast.suggestion and asdict(forecast.suggestion),
        "suggestion_at_end": {rule: None if isinstance(one, str) else asdict(one) for rule, one in at_end.items()},
    }


def _of_trajectory(trajectory: Trajectory, at_step: np.ndarray, entries: int) -> dict[str, Any]:
    return {
        "rule": trajectory.rule,
        "norm": trajectory.norms[at_step].tolist(),
        "final_rms": float(trajectory.norms[-1]) / entries**0.5,
        "steady_norm": trajectory.steady_norm,
        "time_constant": trajectory.time_constant,
        "time_constants_in_run": trajectory.memories,
        "settled_step": trajectory.settled_step,
    }
