"""What to forecast: kinds of layers and their learning rate schedule, from hyperparameters or from a run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from steadydecay.forecasting.given_layers import given_layers
from steadydecay.forecasting.hyperparameters import Hyperparameters, groups_of, why_unpredictable
from steadydecay.forecasting.layer_kinds import LayerKind, layer_kinds, norm_sq_of_rms, unit_norm_sq
from steadydecay.forecasting.trained_run import TrainedRun, kinds_of_run, read_run
from steadydecay.forecasting.transformers_model import model_on_meta
from steadydecay.recipes.optimizers import LR_SQUARED, OPTIMIZERS
from steadydecay.schedules.shapes import cosine, share_at
from steadydecay.theory.validation import require_in

# A trajectory has a number for each step.
MOST_STEPS = 10**7


@final
@dataclass(frozen=True)
class Plan:
    """What to forecast.

    Attributes:
        kinds: The kinds of layers.
        shares: The learning rate of each step as a share of the peak.
        start: The size of the weights at the start, in words.
        run: The run that the settings come from, whose measurements are shown beside the forecast.
        steady_norm_end: The share of its start at which S ends on a cosine under corrected decay. None if S is
            constant.
    """

    kinds: list[LayerKind]
    shares: list[float]
    start: str
    run: TrainedRun | None = None
    steady_norm_end: float | None = None


def plan_of_run(folder: Path) -> Plan:
    """Return the plan by which a run was trained.

    Raises:
        ValueError, OSError: There is no run, no theory predicts its norms, or its data do not exist any more.
    """
    run = read_run(folder)
    recipe = run.recipe
    if reason := why_unpredictable(recipe.optimizer):
        raise ValueError(f"folder is {str(folder)!r}, which is a run of {recipe.optimizer!r}, {reason}")
    if recipe.carrier != "lr" or recipe.decay_rule == LR_SQUARED:
        moved = f"carrier {recipe.carrier!r} and decay_rule {recipe.decay_rule!r}"
        raise ValueError(
            f"folder is {str(folder)!r}, which is a run with {moved}; only runs whose learning rate carries the whole "
            "schedule can be forecast"
        )
    start = f"those of the model with seed {recipe.seed}"
    shares, end = shares_of("cosine", recipe.steps, recipe.warmup_steps), recipe.steady_norm_end
    return Plan(_with_steady_shares(kinds_of_run(run), end, recipe.steps), shares, start, run, end)


def plan_of(
    shapes: Sequence[str],
    model: str | None,
    hyperparameters: Hyperparameters,
    shares: list[float],
    init_rms: float | None = None,
) -> Plan:
    """Return the plan for layers that are given as text, or for a transformers model.

    Args:
        shapes: As for `given_layers`. Give exactly one of shapes and model.
        model: As for `model_on_meta`.
        hyperparameters: The hyperparameters at the peak.
        shares: The learning rate of each step as a share of the peak.
        init_rms: The RMS of all weights at the start, ≥ 0. None is that of `steadydecay.init_`.

    Raises:
        ValueError: An argument is outside its range.
    """
    if init_rms is not None:
        require_in(
            "init_rms", init_rms, 0, include_low=True, remedy="it is the root mean square of the initial weights"
        )
    initial_norm_sq = unit_norm_sq if init_rms is None else norm_sq_of_rms(init_rms)
    if model is not None and not shapes:
        groups, counts = groups_of(model_on_meta(model), hyperparameters), {}
    elif shapes and model is None:
        given = given_layers(shapes)
        _require_norms_in_use(given.overrides, hyperparameters)
        groups, counts = groups_of(given.model, hyperparameters, given.overrides, output=False), given.counts
    else:
        given_both = f"shape is {list(shapes)!r} and model is {model!r}"
        raise ValueError(f"{given_both}; give exactly one of them, or the folder of a run")
    kinds = layer_kinds(groups, initial_norm_sq, counts)
    end = OPTIMIZERS[hyperparameters.optimizer].steady_norm_end
    return Plan(_with_steady_shares(kinds, end, len(shares)), shares, _start(kinds, init_rms), steady_norm_end=end)


def shares_of(schedule: str, steps: int, warmup: int = 0) -> list[float]:
    """Return the learning rate of each step as a share of the peak.

    Args:
        schedule: A key of `steadydecay.schedules.shapes.SHAPES`.
        steps: The number of steps, in [1, 10⁷].
        warmup: The number of warm-up steps, in [0, steps).

    Raises:
        ValueError: An argument is outside its range.
    """
    require_in("steps", steps, 1, MOST_STEPS + 1, include_low=True, remedy="count optimizer steps")
    require_in("warmup", warmup, 0, steps, include_low=True, remedy="it is part of steps")
    first = share_at(schedule, 0, steps, warmup)
    return [first, *(share_at(schedule, step, steps, warmup) for step in range(1, steps))]


def _with_steady_shares(kinds: list[LayerKind], end: float | None, steps: int) -> list[LayerKind]:
    """Move S on a cosine from its start to this share of it, as `RunSchedule` does."""
    if end is None:
        return kinds
    shares = tuple(end + (1 - end) * cosine(step, steps) for step in range(steps))
    return [replace(kind, steady_shares=shares) for kind in kinds]


def _require_norms_in_use(overrides: dict[str, dict[str, object]], given: Hyperparameters) -> None:
    named = [name for name, settings in overrides.items() if "norm" in settings]
    if named and not given.optimizer.startswith("scion"):
        raise ValueError(f"shape is {named[0]!r}, but {given.optimizer!r} does not use norms; give it without the norm")


def _start(kinds: Sequence[LayerKind], init_rms: float | None) -> str:
    if init_rms is not None:
        return f"an RMS of {init_rms:g}"
    if all("norm" not in kind.settings for kind in kinds):
        return "zero (--init-rms changes this)"
    without = any("norm" not in kind.settings for kind in kinds)
    unit = "those of steadydecay.init_: a direction of norm 1 in each matrix, gains at 1, biases at 0"
    return f"{unit}; zero where a layer has no norm" if without else unit
