"""AdamW against AdamW whose update cannot change the weight norm (arXiv 2512.08217, Sec. 1.1, Fig. 1)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Runs, of_both_kinds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import (
    gap,
    gaps_over_seeds,
    gradient_norm,
    pairs,
    validation_loss,
    weight_norm,
)
from steadydecay.recipes.recipe import Fields, Recipe

ADAMW, RENORMALIZED = "AdamW", "renormalised AdamW"
CRITERIA = {
    "loss": Criterion("mean relative difference of the validation loss, over that between two seeds", high=1.5),
    "weights": Criterion("mean relative difference of ‖θ‖ over the run", high=0.05),
    "gradients": Criterion("mean relative difference of ‖g‖ over the run", high=0.15),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return {ADAMW: {"optimizer": "adamw"}, RENORMALIZED: {"optimizer": "renormalized_adamw"}}


def examine(runs: Runs) -> Finding:
    both = pairs(runs[RENORMALIZED], runs[ADAMW])
    values = {
        "loss": gaps_over_seeds(runs[RENORMALIZED], runs[ADAMW], validation_loss),
        "weights": [gap(one, other, weight_norm) for one, other in both],
        "gradients": [gap(one, other, gradient_norm) for one, other in both],
    }
    return Finding(values, curves_of(runs), *usual_table(runs))


FIG1 = Experiment(
    title="AdamW and renormalised AdamW",
    claim="What the perpendicular part of an AdamW update adds to the weight norm hardly matters: without it, loss, "
    "‖θ‖ and ‖g‖ are almost the same.",
    paper="ViT-S/16, 90 epochs: the curves of accuracy, ‖θ‖ and ‖g‖ almost coincide.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=5, gpt=3),
    paper_kind="vit",
)
