"""A cosine of γ_eff that the learning rate carries, and the same one carried by momentum (arXiv 2512.08217, Fig. 3)."""

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

BY_LR, BY_MOMENTUM = "cosine learning rate", "momentum schedule"
# β = 0.9 lets γ_eff fall to 0.23 of its start, where a cosine is after two thirds of a run.
FOLLOWS_UNTIL = 0.65
AFTER = 0.2
CRITERIA = {
    "loss": Criterion(
        "mean relative difference of the validation loss while momentum can follow, over that between two seeds",
        high=1.5,
    ),
    "weights": Criterion("mean relative difference of ‖θ‖ while momentum can follow", high=0.05),
    "gradients": Criterion("mean relative difference of ‖g‖ while momentum can follow", high=0.2),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return {BY_LR: {"optimizer": "scionc"}, BY_MOMENTUM: {"optimizer": "scionc", "carrier": "momentum"}}


def examine(runs: Runs) -> Finding:
    both = pairs(runs[BY_MOMENTUM], runs[BY_LR])
    values = {
        "loss": gaps_over_seeds(runs[BY_MOMENTUM], runs[BY_LR], validation_loss, AFTER, FOLLOWS_UNTIL),
        "weights": [gap(one, other, weight_norm, AFTER, FOLLOWS_UNTIL) for one, other in both],
        "gradients": [gap(one, other, gradient_norm, AFTER, FOLLOWS_UNTIL) for one, other in both],
    }
    return Finding(values, curves_of(runs), *usual_table(runs, "what carries γ_eff"))


FIG3 = Experiment(
    title="momentum in place of the learning rate",
    claim="A momentum schedule with the γ_eff of a cosine learning rate gives the same curves, while it can follow.",
    paper="ViT-S/16, ScionC: equivalent decay throughout most of the training.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=5, gpt=3),
    paper_kind="vit",
)
