"""Accuracy of five optimizers over the length of training (arXiv 2512.08217, Sec. 3.2, Table 2)."""

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.training_lengths import (
    FEW_IMAGES,
    at_each_length,
    by_setting,
    mean_differences,
    smallest_visible,
    table_of,
)
from steadydecay.recipes.recipe import Fields, Recipe

OPTIMIZERS = {
    "AdamW": "adamw",
    "AdamC": "adamc",
    "Scion": "scion",
    "ScionC (constant)": "scionc",
    "ScionC (cosine)": "scionc_cosine",
}
CRITERIA = {
    "cosine": Criterion("accuracy of ScionC (cosine) less that of Scion, mean over the lengths, in points", -0.5, 0.5),
    "scion": Criterion("accuracy of Scion less that of AdamW, mean over the lengths, in points", low=0.0),
    "adam": Criterion("accuracy of AdamC less that of AdamW, mean over the lengths, in points", -0.5, 0.5),
}


def variants(plain: Recipe) -> dict[str, Fields]:
    return at_each_length(plain, {title: {"optimizer": name} for title, name in OPTIMIZERS.items()})


def examine(runs: Runs) -> Finding:
    found = by_setting(runs)
    constant = mean_differences(found["ScionC (constant)"], found["Scion"])
    values = {
        "cosine": mean_differences(found["ScionC (cosine)"], found["Scion"]),
        "scion": mean_differences(found["Scion"], found["AdamW"]),
        "adam": mean_differences(found["AdamC"], found["AdamW"]),
    }
    notes = {
        "accuracy of ScionC (constant) less that of Scion, in points (the paper: -0.16)": sum(constant) / len(constant),
        "smallest difference between these two that could be seen, in points": smallest_visible(constant),
    }
    return table_of(runs, values, notes)


TABLE2 = Experiment(
    title="five optimizers over the length of training",
    claim="ScionC with an S that falls on a cosine matches Scion at every length; both are above AdamW, which AdamC "
    "equals.",
    paper="ImageNet top-1 at 30, 60, 90, 150, 300 epochs: AdamW 67.35 to 79.73 %, Scion 73.31 to 80.10 %, ScionC "
    "(cosine) 73.10 to 80.06 %.",
    parts=[Part("vit", CRITERIA, examine, variants, seeds=6)],
    paper_kind="vit",
    why_not=FEW_IMAGES,
    paper_table=(
        ("epochs", "AdamW", "AdamC", "Scion", "ScionC (constant)", "ScionC (cosine)"),
        (
            ("30", "67.35", "67.53", "73.31", "73.10", "73.10"),
            ("60", "74.77", "74.59", "77.44", "77.20", "77.43"),
            ("90", "76.92", "76.98", "78.68", "78.53", "78.74"),
            ("150", "78.64", "78.69", "79.65", "79.58", "79.62"),
            ("300", "79.73", "79.70", "80.10", "79.94", "80.06"),
        ),
    ),
)
