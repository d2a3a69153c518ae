"""‖θ‖ under AdamW, AdamC, Scion and ScionC: which of them reach steady state (arXiv 2512.08217, Sec. 3.2, Fig. 5)."""

import math

from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.rows import USUAL, rows_of
from steadydecay.experiments.run_measures import final_accuracy, weight_norm
from steadydecay.experiments.verdict import Criterion
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run

OPTIMIZERS = {"AdamW": "adamw", "AdamC": "adamc", "Scion": "scion", "ScionC": "scionc"}
CRITERIA = {
    "scionc": Criterion("|log| of ‖θ‖ in the middle of ScionC over its predicted steady norm", high=0.15),
    "scion": Criterion("|log| of ‖θ‖ in the middle of Scion over its predicted steady norm", high=0.15),
    "adamc": Criterion("the same of AdamC, less that of ScionC", low=0.1),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    """The decay of AdamW and AdamC is as far below that of Scion as in the paper: 1e-4 a step against 8e-4."""
    adam = {"decay_per_step": plain.decay_per_step / 8}
    return {title: {"optimizer": name, **(adam if "adam" in name else {})} for title, name in OPTIMIZERS.items()}


def examine(runs: Runs) -> Finding:
    distances = {title: [distance(run) for run in of_title] for title, of_title in runs.items()}
    values = {
        "scionc": distances["ScionC"],
        "scion": distances["Scion"],
        "adamc": [one - other for one, other in zip(distances["AdamC"], distances["ScionC"], strict=True)],
    }
    measured = {"accuracy, %": final_accuracy, **USUAL, "distance from steady state": distance}
    return Finding(values, curves_of(runs), ("optimizer", *measured), rows_of(runs, measured))


def distance(run: Run) -> float:
    """|log(‖θ‖ ÷ predicted)| of the hidden layers at half of the steps, predicted for the lr and decay of that step."""
    middle, role = run.steps_planned / 2, run.main_role
    at_middle = (series.within(0, middle).last for series in (weight_norm(run), run.of_role("predicted_norm", role)))
    norm, predicted = at_middle
    return abs(math.log(norm / predicted))


FIG5 = Experiment(
    title="who reaches steady state",
    claim="Under Scion and ScionC ‖θ‖ reaches its steady state within the run; under AdamC it does not.",
    paper="ViT-S/16: ScionC reaches steady state, AdamC does not even in 300 epochs.",
    parts=[Part("vit", CRITERIA, examine, variants, seeds=5)],
    paper_kind="vit",
)
