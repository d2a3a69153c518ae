"""AdamC with other betas (arXiv 2512.08217, Appendix B, Fig. 8)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Runs, of_both_kinds
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import gap, mean_value, pairs, weight_norm
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series

BETAS = {"β = (0.9, 0.999)": (0.9, 0.999), "β = (0.95, 0.95)": (0.95, 0.95), "β = (0.8, 0.99)": (0.8, 0.99)}
FIRST = next(iter(BETAS))
CRITERIA = {
    "decay": Criterion("largest relative difference of the decay η between the betas", high=1e-6),
    "norm": Criterion("largest relative difference of ‖θ‖ between the betas, mean over the second half", high=0.1),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return {
        label: {"optimizer": "adamc", "momentum": one, "beta2": two, "decay_per_step": plain.decay_per_step}
        for label, (one, two) in BETAS.items()
    }


def examine(runs: Runs) -> Finding:
    others = [label for label in runs if label != FIRST]
    norms = [[gap(one, other, weight_norm, 0.5) for one, other in pairs(runs[label], runs[FIRST])] for label in others]
    decays = [
        [
            abs(mean_value(one, _decay, 0, 1) / mean_value(other, _decay, 0, 1) - 1)
            for one, other in pairs(runs[label], runs[FIRST])
        ]
        for label in others
    ]
    values = {"decay": list(map(max, zip(*decays, strict=True))), "norm": list(map(max, zip(*norms, strict=True)))}
    decay = Panel("decay η of the hidden layers", "step", "η", over_seeds(runs, _decay), from_zero=True)
    return Finding(values, [*curves_of(runs), decay], *usual_table(runs, "betas"))


def _decay(run: Run) -> Series:
    return run.of_role("decay", run.main_role)


FIG8 = Experiment(
    title="AdamC with other betas",
    claim="The betas of AdamC change neither its decay nor its steady weight norm.",
    paper="ViT-S/16, 90 epochs: changing the betas has no effect on decay and steady-state norm.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=6, gpt=6),
    paper_kind="vit",
)
