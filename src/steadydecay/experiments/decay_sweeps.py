"""Scion and ScionC with several decays, over the length of training (arXiv 2512.08217, Appendix E, Tables 3 to 5)."""

import statistics
from collections.abc import Mapping, Sequence

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

# λ of 0.04, 0.08, 0.12 and 0.16, of which 0.08 is the plain recipe's.
SCION_DECAYS = (0.5, 1.0, 1.5, 2.0)
# S of 1.1875, 0.7917, 0.59375 and 0.475, which are 9.5 γ/λ.
SCIONC_DECAYS = (1.0, 1.5, 2.0, 2.5)
ENDS = (0.5, 0.25, 0.125)
TOO_STRONG = {
    "strong": Criterion(
        "accuracy at the paper's best decay less that at the strongest, mean over lengths, in points", low=0.0
    )
}
INDIFFERENT = {
    "ends": Criterion(
        "largest less smallest accuracy over the ends of S, mean over lengths and seeds, in points", high=0.5
    )
}


def scion_decays(plain: Recipe) -> dict[str, Fields]:
    decays = {
        f"λ × {times:g}": {"optimizer": "scion", "decay_per_step": times * plain.decay_per_step}
        for times in SCION_DECAYS
    }
    return at_each_length(plain, decays)


def scionc_decays(plain: Recipe) -> dict[str, Fields]:
    decays = {
        f"S ÷ {times:g}": {"optimizer": "scionc", "decay_per_step": times * plain.decay_per_step}
        for times in SCIONC_DECAYS
    }
    return at_each_length(plain, decays)


def scionc_ends(plain: Recipe) -> dict[str, Fields]:
    return at_each_length(
        plain, {f"to {end:g} S": {"optimizer": "scionc_cosine", "steady_norm_end": end} for end in ENDS}
    )


def examine_scion(runs: Runs) -> Finding:
    return _strongest(runs, "λ × 1", "λ × 2")


def examine_scionc(runs: Runs) -> Finding:
    return _strongest(runs, "S ÷ 1.5", "S ÷ 2.5")


def examine_ends(runs: Runs) -> Finding:
    found = by_setting(runs)
    means = [_seed_means(of_setting) for of_setting in found.values()]
    # Of the means over the lengths: the range of three equal settings is not 0 where seeds differ.
    ranges = [max(of_seed) - min(of_seed) for of_seed in zip(*means, strict=True)]
    between = max(map(statistics.fmean, means)) - min(map(statistics.fmean, means))
    return table_of(runs, {"ends": ranges}, {"range of the means over the seeds, in points (the paper: 0.13)": between})


def _strongest(runs: Runs, best: str, strongest: str) -> Finding:
    found = by_setting(runs)
    differences = mean_differences(found[best], found[strongest])
    notes = {"smallest difference that could be seen, in points": smallest_visible(differences)}
    return table_of(runs, {"strong": differences}, notes)


def _seed_means(of_setting: Mapping[int, Sequence[float]]) -> list[float]:
    return [statistics.fmean(of_seed) for of_seed in zip(*of_setting.values(), strict=True)]


TABLE3 = Experiment(
    title="Scion with several decays",
    claim="The strongest decay of the sweep costs Scion accuracy.",
    paper="ImageNet top-1 at λ = 0.08 less that at 0.16: 0.8 to 1.5 points at the five lengths.",
    parts=[Part("vit", TOO_STRONG, examine_scion, scion_decays, seeds=5)],
    paper_kind="vit",
    paper_table=(
        ("epochs", "λ = 0.04", "0.08", "0.12", "0.16"),
        (
            ("30", "72.08", "73.31", "73.24", "72.50"),
            ("60", "76.98", "77.44", "76.88", "76.07"),
            ("90", "78.42", "78.68", "78.32", "77.31"),
            ("150", "79.27", "79.65", "79.05", "78.31"),
            ("300", "79.67", "80.10", "79.98", "78.64"),
        ),
    ),
)
TABLE4 = Experiment(
    title="ScionC with several steady norms",
    claim="The smallest steady norm of the sweep costs ScionC accuracy.",
    paper="ImageNet top-1 at S = 0.7917 less that at 0.475: 0.6 to 1.6 points at the five lengths.",
    parts=[Part("vit", TOO_STRONG, examine_scionc, scionc_decays, seeds=5)],
    paper_kind="vit",
    paper_table=(
        ("epochs", "S = 1.1875", "0.7917", "0.59375", "0.475"),
        (
            ("30", "72.87", "73.10", "73.03", "72.54"),
            ("60", "77.19", "77.20", "76.76", "76.47"),
            ("90", "78.42", "78.53", "78.33", "77.87"),
            ("150", "79.39", "79.58", "79.31", "78.41"),
            ("300", "79.78", "79.94", "79.52", "78.35"),
        ),
    ),
)
TABLE5 = Experiment(
    title="ScionC with an S that falls to several ends",
    claim="Where S ends hardly matters to ScionC (cosine).",
    paper="ImageNet top-1 over the three ends: at most 0.4 points apart, at each of the five lengths.",
    parts=[Part("vit", INDIFFERENT, examine_ends, scionc_ends, seeds=5)],
    paper_kind="vit",
    why_not=FEW_IMAGES,
    paper_table=(
        ("epochs", "to S = 0.59375", "0.296875", "0.1484375"),
        (
            ("30", "72.98", "73.10", "73.37"),
            ("60", "77.44", "77.43", "77.41"),
            ("90", "78.65", "78.74", "78.64"),
            ("150", "79.47", "79.62", "79.62"),
            ("300", "79.99", "80.06", "80.08"),
        ),
    ),
)
