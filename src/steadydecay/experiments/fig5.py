"""‖θ‖ under AdamW, AdamC, Scion and ScionC: which of them reach steady state (arXiv 2512.08217, Sec. 3.2, Fig. 5)."""

import numpy as np

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.rows import USUAL, rows_of
from steadydecay.experiments.run_measures import final_accuracy, weight_norm
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run

OPTIMIZERS = {"AdamW": "adamw", "AdamC": "adamc", "Scion": "scion", "ScionC": "scionc"}
# Three times the others' steps: the first weights are so far from the steady norm that 500 leave 17 % of the way.
LONGER = {"steps": 1500, "evaluate_every": 75}
CRITERIA = {
    "scionc": Criterion("smallest |log(‖θ‖ ÷ predicted steady norm)| in the first half, ScionC", high=0.1),
    "scion": Criterion("the same of Scion", high=0.1),
    "forgotten": Criterion("share of the initial ‖θ‖² that decay has left at the end, ScionC", high=0.05),
    "remembered": Criterion("the same of AdamC", low=0.1),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    """The decay of AdamW and AdamC is as far below that of Scion as in the paper: 1e-4 a step against 8e-4."""
    adam = {"decay_per_step": plain.decay_per_step / 8}
    return {title: {"optimizer": name, **(adam if "adam" in name else {})} for title, name in OPTIMIZERS.items()}


def examine(runs: Runs) -> Finding:
    reached = {title: [distance(run) for run in of_title] for title, of_title in runs.items()}
    left = {title: [initial_share(run) for run in of_title] for title, of_title in runs.items()}
    values = {"scionc": reached["ScionC"], "scion": reached["Scion"]}
    values |= {"forgotten": left["ScionC"], "remembered": left["AdamC"]}
    measured = {"accuracy, %": final_accuracy, **USUAL, "distance from steady state": distance}
    measured |= {"initial ‖θ‖² left": initial_share}
    return Finding(values, curves_of(runs), ("optimizer", *measured), rows_of(runs, measured))


def distance(run: Run) -> float:
    """How close ‖θ‖ of the hidden layers came in the first half to the steady norm of the lr and decay of that step."""
    norms, predicted = weight_norm(run), run.of_role("predicted_norm", run.main_role)
    half = (series.within(0, run.steps_planned / 2).values for series in (norms, predicted))
    return float(np.abs(np.log(np.divide(*half))).min())


def initial_share(run: Run) -> float:
    """The product of (1-η)² over the steps, of the hidden layers."""
    decays = run.of_role("decay", run.main_role).values
    return float(np.exp(2 * np.log1p(-decays).sum()))


FIG5 = Experiment(
    title="who reaches steady state",
    claim="Under Scion and ScionC ‖θ‖ reaches its steady state within the run; under AdamC, whose decay is smaller, "
    "the run is too short to forget its start.",
    paper="ViT-S/16: ScionC reaches steady state, AdamC does not even in 300 epochs.",
    parts=[Part("vit", CRITERIA, examine, variants, seeds=5, embedded=LONGER)],
    paper_kind="vit",
)
