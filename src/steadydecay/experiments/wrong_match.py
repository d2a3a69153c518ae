"""Momentum schedules that match the wrong quantity (arXiv 2512.08217, Appendix C.1 and C.2, Figs. 9 and 10)."""

from collections.abc import Callable

from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Runs, Variants, of_both_kinds
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import gap, mean_value, pairs, swing, weight_norm
from steadydecay.experiments.verdict import Criterion
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series
from steadydecay.theory import effective_lr

BASELINE, MATCHED = "cosine learning rate", "momentum, γ_eff matched"
WRONG = {"momentum, γ/√α matched": "root", "momentum, γ/α matched": "ratio"}
# Where momentum can still follow and the wrong schedules have had time to differ.
AFTER, UNTIL = 0.35, 0.65
CRITERIA = {
    "lower": Criterion("γ_eff of the schedule that matches γ/α over that of the cosine, between 35 and 65 %", high=0.9),
    "farther": Criterion(
        "mean relative difference of the validation loss from the cosine under γ/α, less that under γ_eff", low=0.0
    ),
    "norm": Criterion("largest over smallest ‖θ‖ from 50 to 90 % of the run, under γ/α", high=1.15),
}


def variants_from(momentum: float) -> Variants:
    """All schedules from one momentum, at the same γ_eff and S."""

    def variants(plain: Recipe) -> dict[str, Fields]:
        ratio = effective_lr(1.0, plain.momentum) / effective_lr(1.0, momentum)
        common = {"optimizer": "scionc", "momentum": momentum, "lr": plain.lr * ratio}
        common |= {"output_lr": plain.output_lr * ratio}
        carriers = {BASELINE: "lr", MATCHED: "momentum", **WRONG}
        return {label: {**common, "carrier": carrier} for label, carrier in carriers.items()}

    return variants


def examine(runs: Runs) -> Finding:
    ratio_label = list(WRONG)[1]
    wrong, right = pairs(runs[ratio_label], runs[BASELINE]), pairs(runs[MATCHED], runs[BASELINE])
    distances = [[gap(one, other, _loss, AFTER, UNTIL) for one, other in both] for both in (wrong, right)]
    values = {
        "lower": [
            mean_value(one, _share, AFTER, UNTIL) / mean_value(other, _share, AFTER, UNTIL) for one, other in wrong
        ],
        "farther": [one - other for one, other in zip(*distances, strict=True)],
        "norm": [swing(run, weight_norm, 0.5, 0.9) for run in runs[ratio_label]],
    }
    share = Panel("γ_eff", "step", "γ_eff", over_seeds(runs, _share), from_zero=True)
    return Finding(values, [*curves_of(runs), share], *usual_table(runs, "what is matched"))


def _loss(run: Run) -> Series:
    return run.validation_loss


def _share(run: Run) -> Series:
    """γ_eff of the hidden layers as the monitor has it."""
    return run.of_group("effective_lr", run.main_role)


def _experiment(momentum: float, figure: str, paper: str, examine: Callable[[Runs], Finding]) -> Experiment:
    return Experiment(
        title=f"the wrong effective learning rate, from α = {1 - momentum:g}",
        claim="Momentum schedules that match γ/√α or γ/α deviate from the cosine as their true γ_eff says, while "
        "ScionC still holds ‖θ‖.",
        paper=paper,
        parts=of_both_kinds(variants_from(momentum), CRITERIA, examine, vit=4, gpt=4),
        paper_kind="vit",
    )


FIG9 = _experiment(0.9, "fig9", "ViT-S/16, α from 0.1: small deviations of the accuracy, as γ_eff says.", examine)
FIG10 = _experiment(0.98, "fig10", "ViT-S/16, α from 0.02: γ_eff is too low and the models underperform.", examine)
