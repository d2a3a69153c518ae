"""What is forecast: kinds of layers and the schedule of their lr, from hyperparameters or from a run."""

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

# A trajectory holds a number for each step.
MOST_STEPS = 10**7


@final
@dataclass(frozen=True)
class Plan:
    """What is forecast.

    Attributes:
        kinds: of layers.
        shares: lr of each step as a share of the peak.
        start: how large the weights are at the start, in words.
        run: whose settings these are, and whose measurements stand beside the forecast.
        steady_norm_end: the share of its start at which S ends on a cosine, under corrected decay; None where S stays.
    """

    kinds: list[LayerKind]
    shares: list[float]
    start: str
    run: TrainedRun | None = None
    steady_norm_end: float | None = None


def plan_of_run(folder: Path) -> Plan:
    """The plan that a run was trained by.

    Raises:
        ValueError, OSError: no run there, one whose norms no theory predicts, or its data are gone.
    """
    run = read_run(folder)
    recipe = run.recipe
    if reason := why_unpredictable(recipe.optimizer):
        raise ValueError(f"folder is {str(folder)!r}, a run of {recipe.optimizer!r}, {reason}")
    if recipe.carrier != "lr" or recipe.decay_rule == LR_SQUARED:
        moved = f"carrier {recipe.carrier!r} and decay_rule {recipe.decay_rule!r}"
        raise ValueError(
            f"folder is {str(folder)!r}, a run with {moved}; a run can be forecast if its lr carries it all"
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
    """The plan for layers given by hand, or for a transformers model.

    Args:
        shapes: as in `given_layers`; exactly one of shapes and model.
        model: as in `model_on_meta`.
        hyperparameters: at the peak.
        shares: lr of each step as a share of the peak.
        init_rms: ≥ 0, RMS of all weights at the start; None for that of `steadydecay.init_`.

    Raises:
        ValueError: an argument outside its range.
    """
    if init_rms is not None:
        require_in("init_rms", init_rms, 0, include_low=True, remedy="it is the root mean square of the first weights")
    initial_norm_sq = unit_norm_sq if init_rms is None else norm_sq_of_rms(init_rms)
    if model is not None and not shapes:
        groups, counts = groups_of(model_on_meta(model), hyperparameters), {}
    elif shapes and model is None:
        given = given_layers(shapes)
        _require_norms_in_use(given.overrides, hyperparameters)
        groups, counts = groups_of(given.model, hyperparameters, given.overrides, output=False), given.counts
    else:
        given_both = f"shape is {list(shapes)!r} and model is {model!r}"
        raise ValueError(f"{given_both}; legal is one of them, or the folder of a run")
    kinds = layer_kinds(groups, initial_norm_sq, counts)
    end = OPTIMIZERS[hyperparameters.optimizer].steady_norm_end
    return Plan(_with_steady_shares(kinds, end, len(shares)), shares, _start(kinds, init_rms), steady_norm_end=end)


def shares_of(schedule: str, steps: int, warmup: int = 0) -> list[float]:
    """lr of each step as a share of the peak.

    Args:
        schedule: a key of `steadydecay.schedules.shapes.SHAPES`.
        steps: in [1, 10⁷].
        warmup: in [0, steps).

    Raises:
        ValueError: an argument outside its range.
    """
    require_in("steps", steps, 1, MOST_STEPS + 1, include_low=True, remedy="count optimizer steps")
    require_in("warmup", warmup, 0, steps, include_low=True, remedy="it is part of steps")
    first = share_at(schedule, 0, steps, warmup)
    return [first, *(share_at(schedule, step, steps, warmup) for step in range(1, steps))]


def _with_steady_shares(kinds: list[LayerKind], end: float | None, steps: int) -> list[LayerKind]:
    """S on a cosine from its start to this share of it, as `RunSchedule` moves it."""
    if end is None:
        return kinds
    shares = tuple(end + (1 - end) * cosine(step, steps) for step in range(steps))
    return [replace(kind, steady_shares=shares) for kind in kinds]


def _require_norms_in_use(overrides: dict[str, dict[str, object]], given: Hyperparameters) -> None:
    named = [name for name, settings in overrides.items() if "norm" in settings]
    if named and not given.optimizer.startswith("scion"):
        raise ValueError(f"shape is {named[0]!r}, whose norm {given.optimizer!r} does not use; legal is without it")


def _start(kinds: Sequence[LayerKind], init_rms: float | None) -> str:
    if init_rms is not None:
        return f"an RMS of {init_rms:g}"
    if all("norm" not in kind.settings for kind in kinds):
        return "zero (give --init-rms for another)"
    without = any("norm" not in kind.settings for kind in kinds)
    unit = "those of steadydecay.init_: a direction of norm 1 in each matrix, gains at 1, biases at 0"
    return f"{unit}; zero where a layer has no norm" if without else unit
