"""Scion against ScionC on a GPT (arXiv 2512.08217, Sec. 3.1, Fig. 4)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import differences, final_loss, gradient_rise, norm_kept, pairs
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series

SCION, SCIONC = "Scion", "ScionC"
# The recipe's own size: on the smaller model of the other experiments the losses of the two do not differ.
OF_THE_DEMO = {"layers": 3, "width": 128, "length": 128, "batch_size": 16, "steps": 400, "evaluate_every": 40}
CRITERIA = {
    "loss": Criterion("validation loss of ScionC less that of Scion, in nats", high=0.0),
    "kept": Criterion("‖θ‖ of ScionC at the end over that in the middle", low=0.95, high=1.1),
    "lost": Criterion("‖θ‖ of Scion at the end over that in the middle", high=0.9),
    "steady": Criterion("‖g‖ of ScionC at the end over that in the middle", high=1.05),
    "surge": Criterion("the same of Scion, over that of ScionC", low=1.1),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return {SCION: {"optimizer": "scion"}, SCIONC: {"optimizer": "scionc"}}


def examine(runs: Runs) -> Finding:
    values = {
        "loss": differences(runs[SCIONC], runs[SCION], final_loss),
        "kept": [norm_kept(run) for run in runs[SCIONC]],
        "lost": [norm_kept(run) for run in runs[SCION]],
        "steady": [gradient_rise(run) for run in runs[SCIONC]],
        "surge": [gradient_rise(one) / gradient_rise(other) for one, other in pairs(runs[SCION], runs[SCIONC])],
    }
    spectral = Panel("Spectral norms, geometric mean", "step", "σ_max", over_seeds(runs, _spectral), from_zero=True)
    sign = Panel("Sign norm of the tied layer", "step", "d_in · max|w|", over_seeds(runs, _sign), from_zero=True)
    return Finding(values, [*curves_of(runs), spectral, sign], *usual_table(runs))


def _spectral(run: Run) -> Series:
    return run.of_group("spectral_geometric_mean", run.main_role)


def _sign(run: Run) -> Series:
    return run.of_group("sign_norm", "output")


FIG4 = Experiment(
    title="Scion and ScionC on a GPT",
    claim="ScionC has a lower validation loss than Scion, a steady ‖θ‖, and no rise of ‖g‖ at the end.",
    paper="124M parameters, FineWeb-Edu 100B: validation loss 2.838 for ScionC and 2.846 for Scion.",
    parts=[Part("gpt", CRITERIA, examine, variants, seeds=4, embedded=OF_THE_DEMO)],
    paper_kind="gpt",
)
