"""Every experiment of the table: legal recipes at both scales, values for all criteria, panels and tables that fit."""

import math
import re

import pytest
from fake_runs import fake_runs

from steadydecay.experiments.criterion import Verdict, judged, overall
from steadydecay.experiments.experiment import Experiment, Finding, Part
from steadydecay.experiments.named_experiments import EXPERIMENTS
from steadydecay.experiments.scales import KINDS, SCALES, plain_recipe, recipes_of

# The rows of the paper's experiments.
NAMES = {f"fig{number}" for number in range(1, 14)} | {f"table{number}" for number in range(2, 6)}
NAMES |= {"seed003", "nesterov", "steady_norm"}
# Those that go beyond it.
NAMES |= {"own_best"}
# Their claims are that something stays the same.
OF_EQUALITY = {"fig1", "fig3", "fig8", "table5", "nesterov", "own_best"}
TRAINED = [
    (name, part.kind, index)
    for name, experiment in EXPERIMENTS.items()
    for index, part in enumerate(experiment.parts)
    if part.kind is not None
]


def part_of(name: str, index: int) -> Part:
    return EXPERIMENTS[name].parts[index]


def test_every_figure_and_table_has_its_experiment() -> None:
    assert set(EXPERIMENTS) == NAMES


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_words_are_sentences_and_its_criteria_have_ranges(name: str) -> None:
    experiment: Experiment = EXPERIMENTS[name]
    assert re.fullmatch(r".*\w.*\.", experiment.claim) and experiment.paper.endswith(".")
    assert experiment.parts and all(part.criteria for part in experiment.parts)
    for part in experiment.parts:
        quantities = [criterion.quantity for criterion in part.criteria.values()]
        assert len(set(quantities)) == len(quantities)
        for criterion in part.criteria.values():
            assert criterion.low < criterion.high
            assert math.isfinite(criterion.low) or math.isfinite(criterion.high)


@pytest.mark.parametrize(("name", "kind", "index"), TRAINED)
@pytest.mark.parametrize("scale", SCALES)
def test_its_recipes_are_legal_and_differ(name: str, kind: str, index: int, scale: str) -> None:
    of_part = recipes_of(part_of(name, index), scale, {})
    recipes = [recipe for of_label in of_part.values() for recipe in of_label]
    assert len(set(recipes)) == len(recipes) > 1
    for of_label in of_part.values():
        assert [recipe.seed for recipe in of_label] == list(range(len(of_label)))
        # One seed gives no interval, so no verdict.
        assert len(of_label) > 1
    assert {type(recipe).__name__.removesuffix("Recipe") for recipe in recipes} == {KINDS[kind]}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_papers_scale_runs_what_the_paper_trained(name: str) -> None:
    experiment = EXPERIMENTS[name]
    kinds = {part.kind for part in experiment.parts_at("paper")}
    assert kinds <= {None, experiment.paper_kind} and kinds
    assert experiment.parts_at("embedded") == list(experiment.parts)


@pytest.mark.parametrize(("name", "kind", "index"), TRAINED)
def test_its_examination_has_a_value_for_each_seed_and_criterion(name: str, kind: str, index: int) -> None:
    part = part_of(name, index)
    finding: Finding = part.examine(fake_runs(part))
    assert finding.values.keys() == part.criteria.keys()
    for values in finding.values.values():
        # Equal losses have no best learning rate.
        assert len(values) == part.seeds and (name == "fig2" or all(map(math.isfinite, values)))
    assert finding.panels and all(panel.lines for panel in finding.panels)
    assert finding.rows and {len(row) for row in finding.rows} == {len(finding.columns)}


@pytest.mark.parametrize("name", sorted({name for name, _, _ in TRAINED} - OF_EQUALITY))
def test_equal_runs_reproduce_no_claim_of_a_difference(name: str) -> None:
    parts = [part for part in EXPERIMENTS[name].parts if part.kind is not None]
    found = [(part, part.examine(fake_runs(part)).values) for part in parts]
    verdicts: list[Verdict] = [
        judged(one, values[key]).verdict for part, values in found for key, one in part.criteria.items()
    ]
    assert overall(verdicts) != "reproduced"


def test_plain_recipes_are_scionc_with_the_papers_numbers_at_its_scale() -> None:
    vit, gpt = plain_recipe("paper", "vit", {}), plain_recipe("paper", "gpt", {})
    assert (vit.optimizer, vit.lr, vit.output_lr, vit.momentum, vit.batch_size) == ("scionc", 0.01, 0.2, 0.9, 1024)
    assert (gpt.optimizer, gpt.lr, gpt.output_lr, gpt.momentum) == ("scionc", 50 / 4096, 3000 / 4096, 0.9)
    assert vit.decay_per_step == pytest.approx(0.01 * 0.08)
