"""Momentum that falls beside the learning rate, with decay that follows both or only one (Appendix C.3, Fig. 11)."""

import statistics

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Runs, of_both_kinds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import Read, gradient_norm, mean_value, pairs, swing, weight_norm
from steadydecay.recipes.recipe import Fields, Recipe

BASELINE, BOTH, ALONE = "constant momentum", "η ∝ γ_eff²", "η ∝ γ²"
AFTER, UNTIL = 0.2, 0.9
CRITERIA = {
    "norm": Criterion("largest over smallest ‖θ‖ from 20 to 90 % of the run, η ∝ γ_eff²", high=1.25),
    "swing": Criterion("the same under η ∝ γ², over that under η ∝ γ_eff²", low=1.0),
    "gradient": Criterion(
        "largest over smallest ‖g‖ from 20 to 90 % of the run, η ∝ γ_eff², over that of η ∝ γ²", high=1.0
    ),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    linear = {"optimizer": "scionc", "carrier": "linear_momentum"}
    return {BASELINE: {"optimizer": "scionc"}, BOTH: linear, ALONE: {**linear, "decay_rule": "lr_squared"}}


def examine(runs: Runs) -> Finding:
    def swings(label: str, read: Read) -> list[float]:
        return [swing(run, read, AFTER, UNTIL) for run in runs[label]]

    norms, gradients = (
        zip(swings(BOTH, read), swings(ALONE, read), strict=True) for read in (weight_norm, gradient_norm)
    )
    values = {
        "norm": swings(BOTH, weight_norm),
        "swing": [alone / both for both, alone in norms],
        "gradient": [both / alone for both, alone in gradients],
    }
    notes = {f"‖g‖ at the end over that with constant momentum, {label}": _end(label, runs) for label in (BOTH, ALONE)}
    return Finding(values, curves_of(runs), *usual_table(runs, "decay"), notes)


def _end(label: str, runs: Runs) -> float:
    """Return ‖g‖ in the last tenth of the run divided by that of the baseline, where ‖g‖ falls by learning alone."""
    ends = [[mean_value(run, gradient_norm, UNTIL, 1.0) for run in pair] for pair in pairs(runs[label], runs[BASELINE])]
    return statistics.fmean(own / baseline for own, baseline in ends)


FIG11 = Experiment(
    title="decay that follows a momentum schedule",
    claim="When momentum falls with the learning rate, decay that follows γ_eff² keeps ‖θ‖ and ‖g‖ steady; decay that "
    "follows γ² alone does not.",
    paper="ViT-S/16, 90 epochs: with λ ∝ γ alone ‖θ‖ and ‖g‖ swing drastically.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=8, gpt=8),
    paper_kind="vit",
    why_not="On the digits ‖g‖ falls to about half from the middle to the end of every run, with constant momentum "
    "too, because the ViT learns most of them. What the criterion measures is this fall, part of which the larger "
    "‖g‖ of η ∝ γ² makes up for. The last lines compare ‖g‖ with that under constant momentum instead. ImageNet "
    "(`--scale paper`) is not learned so far.",
)
