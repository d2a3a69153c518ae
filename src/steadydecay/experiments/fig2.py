"""ScionC with several momenta: which learning rate is best for each (arXiv 2512.08217, Sec. 2.2, Fig. 2)."""

import itertools
import math
import statistics
from collections.abc import Mapping

import numpy as np

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Runs, of_both_kinds
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.run_measures import final_loss, mean_and_deviation
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.theory import effective_lr

MOMENTA = (0.6, 0.9, 0.98)
# Of γ_eff, around that of the plain recipe.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
CRITERIA = {
    "narrower": Criterion(
        "octaves between the best γ_eff of the three momenta, less those between their best γ", high=0.0
    ),
    "narrow": Criterion("octaves between the best γ_eff of the three momenta", high=1.0),
    "wide": Criterion("octaves between the best γ of the three momenta", low=1.0),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    """The same γ_eff with each momentum, and the same S for all: η = γ_eff²/(2S)."""
    made = {}
    for factor, momentum in itertools.product(FACTORS, MOMENTA):
        lr_ratio = factor * effective_lr(1.0, plain.momentum) / effective_lr(1.0, momentum)
        made[label_of(factor, momentum)] = {
            "optimizer": "scionc",
            "momentum": momentum,
            "lr": plain.lr * lr_ratio,
            "output_lr": plain.output_lr * lr_ratio,
            "decay_per_step": min(0.5, plain.decay_per_step * factor**2),
        }
    return made


def label_of(factor: float, momentum: float) -> str:
    return f"{factor:g} × γ_eff, β = {momentum:g}"


def examine(runs: Runs) -> Finding:
    seeds = range(min(len(of_label) for of_label in runs.values()))
    octaves_effective, octaves_lr = [], []
    for seed in seeds:
        best = {beta: best_factor({f: final_loss(runs[label_of(f, beta)][seed]) for f in FACTORS}) for beta in MOMENTA}
        octaves_effective.append(_octaves(best))
        octaves_lr.append(_octaves({beta: factor / effective_lr(1.0, beta) for beta, factor in best.items()}))
    values = {
        "narrower": [one - other for one, other in zip(octaves_effective, octaves_lr, strict=True)],
        "narrow": octaves_effective,
        "wide": octaves_lr,
    }
    columns = ("γ_eff ÷ plain", *(f"loss, β = {beta:g}" for beta in MOMENTA))
    rows = [(f"{factor:g}", *(_loss(runs, factor, beta) for beta in MOMENTA)) for factor in FACTORS]
    panels = [
        Panel("over γ_eff", "γ_eff ÷ that of the plain recipe", "validation loss", _lines(runs, 1.0), is_log_x=True),
        Panel("over γ", "γ ÷ that of the plain recipe", "validation loss", _lines(runs, None), is_log_x=True),
    ]
    return Finding(values, panels, columns, rows)


def best_factor(losses: Mapping[float, float]) -> float:
    """Where the loss is lowest: the vertex of the parabola through the lowest point and its neighbours, in octaves.

    NaN if that is at an end of the grid, where the best may lie beyond.

    >>> best_factor({0.5: 2.0, 1.0: 1.0, 2.0: 2.0})
    1.0
    >>> best_factor({0.5: 1.0, 1.0: 2.0, 2.0: 3.0})
    nan
    """
    factors = sorted(losses)
    lowest = min(range(len(factors)), key=lambda index: losses[factors[index]])
    if lowest in (0, len(factors) - 1):
        return math.nan
    near = factors[lowest - 1 : lowest + 2]
    curvature, slope, _ = np.polyfit(np.log2(near), [losses[factor] for factor in near], 2)
    return float(2 ** (-slope / (2 * curvature)))


def _octaves(best: Mapping[float, float]) -> float:
    found = list(best.values())
    return math.log2(max(found) / min(found)) if all(map(math.isfinite, found)) else math.nan


def _lines(runs: Runs, scale: float | None) -> list[Line]:
    """The loss of each momentum over γ_eff or, without a scale, over γ."""
    lines = []
    for beta in MOMENTA:
        times = scale or effective_lr(1.0, 0.9) / effective_lr(1.0, beta)
        losses = [[final_loss(run) for run in runs[label_of(factor, beta)]] for factor in FACTORS]
        x, y = [factor * times for factor in FACTORS], list(map(statistics.fmean, losses))
        lines.append(Line(f"β = {beta:g}", x, y, list(map(min, losses)), list(map(max, losses))))
    return lines


def _loss(runs: Runs, factor: float, beta: float) -> str:
    return mean_and_deviation([final_loss(run) for run in runs[label_of(factor, beta)]])


FIG2 = Experiment(
    title="the learning rate that is best for each momentum",
    claim="The best γ_eff is the same for every momentum, and the best γ is not.",
    paper="ViT-S/16, ScionC: the accuracy over γ_eff peaks at the same place for every momentum.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=6, gpt=6),
    paper_kind="vit",
)
