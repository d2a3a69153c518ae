"""Scion beside ScionC with an S that falls (arXiv 2512.08217, Sec. 3.2, Fig. 6)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.decay_sweeps import ENDS
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import differences, final_accuracy, norm_kept
from steadydecay.experiments.training_lengths import FEW_IMAGES
from steadydecay.recipes.recipe import Fields, Recipe

SCION = "Scion"
CRITERIA = {
    "accuracy": Criterion("accuracy of ScionC (cosine, to S/4) less that of Scion, in points", -0.5, 0.5),
    "suppressed": Criterion("‖θ‖ of Scion at the end over that in the middle", high=0.95),
    "held": Criterion("the same of ScionC (cosine, to S/4), less that of Scion", low=0.05),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    falling = {label_of(end): {"optimizer": "scionc_cosine", "steady_norm_end": end} for end in ENDS}
    return {SCION: {"optimizer": "scion"}, **falling}


def label_of(end: float) -> str:
    return f"ScionC, S to {end:g} of its start"


def examine(runs: Runs) -> Finding:
    quarter = runs[label_of(0.25)]
    values = {
        "accuracy": differences(quarter, runs[SCION], final_accuracy),
        "suppressed": [norm_kept(run) for run in runs[SCION]],
        "held": differences(quarter, runs[SCION], norm_kept),
    }
    return Finding(values, curves_of(runs), *usual_table(runs))


FIG6 = Experiment(
    title="Scion and ScionC with an S that falls",
    claim="The accuracy does not depend on how ‖θ‖ falls, and does not gain from its suppression as γ → 0.",
    paper="ViT-S/16: ScionC (cosine) matches Scion, whose ‖θ‖ is suppressed at the end.",
    parts=[Part("vit", CRITERIA, examine, variants, seeds=6)],
    paper_kind="vit",
    why_not=FEW_IMAGES,
)
