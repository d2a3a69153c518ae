"""Momentum schedules that match the wrong quantity (arXiv 2512.08217, Appendix C.1 and C.2, Figs. 9 and 10)."""

import math

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Runs, Variants, of_both_kinds
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import (
    Read,
    differences,
    final_loss,
    mean_value,
    pairs,
    swing,
    validation_loss,
    weight_norm,
)
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series
from steadydecay.theory import effective_lr

BASELINE, RATIO = "cosine learning rate", "momentum, γ/α matched"
# By label: the carrier, and the exponent of 1/α in the quantity that it matches; None for γ_eff itself.
SCHEDULES = {
    "momentum, γ_eff matched": ("momentum", None),
    "momentum, γ/√α matched": ("root", 0.5),
    RATIO: ("ratio", 1.0),
}
# Where momentum can still follow and the wrong schedules have had time to differ.
AFTER, UNTIL = 0.35, 0.65
NORM = {"norm": Criterion("largest over smallest ‖θ‖ from 50 to 90 % of the run, γ/α matched", high=1.15)}
CRITERIA_FROM_01 = NORM | {
    "effective": Criterion("true γ_eff over that of the cosine between 35 and 65 % of the run, γ/α matched", low=1.2),
    "middle": Criterion("log of the validation loss over that of the cosine in the same part, γ/α matched", low=0.0),
}
CRITERIA_FROM_002 = NORM | {
    "effective": Criterion("true γ_eff over that of the cosine in the first 10 % of the run, γ/α matched", high=0.6),
    "end": Criterion("validation loss at the end less that of the cosine, γ/α matched, in nats", low=0.0),
}


def variants_from(momentum: float) -> Variants:
    """The baseline, and schedules from another momentum that match its γ_eff, γ/√α or γ/α; all at the same S."""

    def variants(plain: Recipe) -> dict[str, Fields]:
        made: dict[str, Fields] = {BASELINE: {"optimizer": "scionc"}}
        for label, (carrier, exponent) in SCHEDULES.items():
            lr_ratio = matched_lr(plain.momentum, momentum, exponent)
            effective_ratio = lr_ratio * effective_lr(1.0, momentum) / effective_lr(1.0, plain.momentum)
            made[label] = {
                "optimizer": "scionc",
                "carrier": carrier,
                "momentum": momentum,
                "lr": plain.lr * lr_ratio,
                "output_lr": plain.output_lr * lr_ratio,
                "decay_per_step": plain.decay_per_step * effective_ratio**2,
            }
        return made

    return variants


def matched_lr(momentum: float, other: float, exponent: float | None) -> float:
    """Factor of γ that keeps γ/(1-β)^exponent, or γ_eff without an exponent, where β changes to another.

    >>> round(matched_lr(0.9, 0.98, 1.0), 6)
    0.2
    """
    if exponent is None:
        return effective_lr(1.0, momentum) / effective_lr(1.0, other)
    return ((1 - other) / (1 - momentum)) ** exponent


def examine_from_01(runs: Runs) -> Finding:
    both = pairs(runs[RATIO], runs[BASELINE])
    values = {
        "effective": [_ratio(one, other, _effective_lr, AFTER, UNTIL) for one, other in both],
        "middle": [math.log(_ratio(one, other, validation_loss, AFTER, UNTIL)) for one, other in both],
    }
    return _finding(runs, values)


def examine_from_002(runs: Runs) -> Finding:
    both = pairs(runs[RATIO], runs[BASELINE])
    values = {
        "effective": [_ratio(one, other, _effective_lr, 0.0, 0.1) for one, other in both],
        "end": differences(runs[RATIO], runs[BASELINE], final_loss),
    }
    return _finding(runs, values)


def _finding(runs: Runs, values: dict[str, list[float]]) -> Finding:
    norm = {"norm": [swing(run, weight_norm, 0.5, 0.9) for run in runs[RATIO]]}
    share = Panel("true γ_eff", "step", "γ_eff", over_seeds(runs, _effective_lr), from_zero=True)
    return Finding({**norm, **values}, [*curves_of(runs), share], *usual_table(runs, "what is matched"))


def _ratio(one: Run, other: Run, read: Read, after: float, until: float) -> float:
    return mean_value(one, read, after, until) / mean_value(other, read, after, until)


def _effective_lr(run: Run) -> Series:
    """γ_eff of the hidden layers as the monitor has it."""
    return run.of_group("effective_lr", run.main_role)


FIG9 = Experiment(
    title="momentum schedules that match the wrong quantity, from α = 0.1",
    claim="A momentum schedule that matches γ/α has a larger γ_eff than the cosine in the middle of the run, and a "
    "larger loss there, while ScionC still holds ‖θ‖.",
    paper="ViT-S/16: small deviations from the cosine change the curves of accuracy as the true γ_eff says.",
    parts=of_both_kinds(variants_from(0.9), CRITERIA_FROM_01, examine_from_01, vit=4, gpt=4),
    paper_kind="vit",
)
FIG10 = Experiment(
    title="momentum schedules that match the wrong quantity, from α = 0.02",
    claim="A momentum schedule from α = 0.02 that matches γ/α of the baseline at α = 0.1 has too low a γ_eff, and the "
    "model underperforms.",
    paper="ViT-S/16: γ_eff is too low and the models underperform.",
    parts=of_both_kinds(variants_from(0.98), CRITERIA_FROM_002, examine_from_002, vit=4, gpt=4),
    paper_kind="vit",
)
