"""ViTs trained for several lengths under several settings: the runs and the shape of the paper's Tables 2 to 5."""

import statistics
from collections.abc import Mapping, Sequence

from steadydecay.experiments.criterion import confidence_interval
from steadydecay.experiments.experiment import Finding, Runs
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.run_measures import final_accuracy, mean_and_deviation
from steadydecay.recipes.recipe import Fields, Recipe

# Of the plain recipe's steps: 30, 60, 90, 150 and 300 epochs of the paper, whose plain recipe has 90.
LENGTHS_OF_PAPER = (1 / 3, 2 / 3, 1.0, 5 / 3, 10 / 3)
# Why differences of the paper's size are not seen on the digits.
FEW_IMAGES = (
    "Accuracy on the 360 validation digits moves by about a point from seed to seed. Differences as small as those of "
    "the paper need more than a hundred seeds here, or the 50,000 validation images of `--scale paper`."
)
LENGTHS = (1 / 3, 1.0, 5 / 3)


def at_each_length(plain: Recipe, settings: Mapping[str, Fields]) -> dict[str, Fields]:
    """Every setting at every length, by `label_of`."""
    lengths = LENGTHS_OF_PAPER if plain.size == "s16" else LENGTHS
    steps_of = [round(length * plain.steps) for length in lengths]
    return {
        label_of(setting, steps): {**fields, "steps": steps}
        for steps in steps_of
        for setting, fields in settings.items()
    }


def label_of(setting: str, steps: int) -> str:
    return f"{setting}, {steps} steps"


def by_setting(runs: Runs) -> dict[str, dict[int, list[float]]]:
    """{setting: {steps: accuracy in percent of each seed}}."""
    found: dict[str, dict[int, list[float]]] = {}
    for label, of_label in runs.items():
        setting, _, _ = label.rpartition(", ")
        accuracies = [final_accuracy(run) for run in of_label]
        found.setdefault(setting, {})[of_label[0].steps_planned] = accuracies
    return found


def mean_differences(one: Mapping[int, Sequence[float]], other: Mapping[int, Sequence[float]]) -> list[float]:
    """Of two settings, seed by seed: the mean over the lengths of the difference in accuracy."""
    seeds = range(min(map(len, [*one.values(), *other.values()])))
    return [statistics.fmean(one[steps][seed] - other[steps][seed] for steps in one) for seed in seeds]


def smallest_visible(differences: Sequence[float]) -> float:
    """Half of the confidence interval: a smaller difference of the means could not have been seen."""
    low, high = confidence_interval(differences)
    return (high - low) / 2


def table_of(runs: Runs, values: Mapping[str, Sequence[float]], notes: Mapping[str, float]) -> Finding:
    """Accuracies by length and setting, as in the paper, and the same as lines."""
    found = by_setting(runs)
    lengths = list(next(iter(found.values())))
    rows = [
        (f"{steps} steps", *(mean_and_deviation(of_setting[steps], 2) for of_setting in found.values()))
        for steps in lengths
    ]
    panel = Panel(
        "accuracy after training", "steps", "%", [_line(name, one) for name, one in found.items()], is_log_x=True
    )
    return Finding(values, [panel], ("accuracy, %", *found), rows, notes)


def _line(name: str, of_setting: Mapping[int, Sequence[float]]) -> Line:
    accuracies = list(of_setting.values())
    means, low, high = (list(map(of, accuracies)) for of in (statistics.fmean, min, max))
    return Line(name, list(of_setting), means, low, high)
