"""‖θ‖ and ‖g‖ of ScionC with several S beside Scion (arXiv 2512.08217, Appendix E, Fig. 13)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.decay_sweeps import SCIONC_DECAYS
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import gradient_rise, norm_kept, swing, weight_norm
from steadydecay.recipes.recipe import Fields, Recipe

SCION = "Scion"
CRITERIA = {
    "steady": Criterion("largest over smallest ‖θ‖ from 50 to 100 % of the run, worst S of ScionC", high=1.2),
    "falls": Criterion("‖θ‖ of Scion at the end over that in the middle", high=0.95),
    "gradients": Criterion(
        "rise of ‖g‖ from the middle to the end under ScionC, largest over S, over that of Scion", high=1.0
    ),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    constant = {
        label_of(times): {"optimizer": "scionc", "decay_per_step": times * plain.decay_per_step}
        for times in SCIONC_DECAYS
    }
    return {SCION: {"optimizer": "scion"}, **constant}


def label_of(times: float) -> str:
    return f"ScionC, S ÷ {times:g}"


def examine(runs: Runs) -> Finding:
    corrected = [of_label for label, of_label in runs.items() if label != SCION]
    swings = [[swing(run, weight_norm, 0.5, 1.0) for run in of_label] for of_label in corrected]
    rises = [[gradient_rise(run) for run in of_label] for of_label in corrected]
    rises_of_scion = [gradient_rise(run) for run in runs[SCION]]
    values = {
        "steady": list(map(max, zip(*swings, strict=True))),
        "falls": [norm_kept(run) for run in runs[SCION]],
        "gradients": [max(rise) / other for *rise, other in zip(*rises, rises_of_scion, strict=True)],
    }
    return Finding(values, curves_of(runs), *usual_table(runs))


FIG13 = Experiment(
    title="ScionC with several steady norms",
    claim="ScionC holds ‖θ‖ at each S, where Scion lets it fall, and its ‖g‖ rises less.",
    paper="ViT-S/16: stable weight and gradient norms of ScionC (constant) at each S.",
    parts=[Part("vit", CRITERIA, examine, variants, seeds=6)],
    paper_kind="vit",
)
