"""The output layer with corrected and with constant λ (arXiv 2512.08217, Appendix D, Fig. 12)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import quality_panel
from steadydecay.experiments.experiment import Experiment, Finding, Runs, of_both_kinds
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import differences, mean_value
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series

CORRECTED, CONSTANT = "output layer corrected", "output layer with constant λ"
CRITERIA = {
    "aligned": Criterion(
        "mean cosine of weights and update of the output layer over the second half, corrected", high=0.0
    ),
    "grows": Criterion("‖θ‖ of the output layer at the end over that at half of the run, corrected", low=1.0),
    "more": Criterion("the same, less that with constant λ", low=0.0),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return {CORRECTED: {"optimizer": "scionc", "correct_output": True}, CONSTANT: {"optimizer": "scionc"}}


def examine(runs: Runs) -> Finding:
    values = {
        "aligned": [mean_value(run, _cosine, 0.5, 1) for run in runs[CORRECTED]],
        "grows": [growth(run) for run in runs[CORRECTED]],
        "more": differences(runs[CORRECTED], runs[CONSTANT], growth),
    }
    panels = [
        quality_panel(runs),
        Panel("‖θ‖ of the output layer", "step", "‖θ‖", over_seeds(runs, _norm), from_zero=True),
        Panel("cosine of weights and update, output layer", "step", "⟨θ, u⟩ ÷ ‖θ‖‖u‖", over_seeds(runs, _cosine)),
    ]
    return Finding(values, panels, *usual_table(runs, "output layer"))


def growth(run: Run) -> float:
    norms = _norm(run)
    return norms.last / norms.within(0, run.steps_planned / 2).last


def _norm(run: Run) -> Series:
    return run.of_role("weight_norm", "output")


def _cosine(run: Run) -> Series:
    return run.of_group("update_cosine", "output")


FIG12 = Experiment(
    title="the output layer, corrected or not",
    claim="⟨θ, u⟩ of the output layer is negative, so its norm keeps growing when its decay is corrected.",
    paper="ViT-S/16: the norm of the corrected output layer keeps increasing.",
    parts=of_both_kinds(variants, CRITERIA, examine, vit=4, gpt=4),
    paper_kind="vit",
)
