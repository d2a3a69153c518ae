"""One weight under AdamW and Adam with L2: torch's numbers, the worked example's digits, and what is refused."""

import doctest
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as test_settings
from hypothesis import strategies as st

from steadydecay.experiments.adam_steps import (
    EXAMPLE,
    AdamMoments,
    AdamSettings,
    AdamUpdate,
    adam_l2_step,
    adam_path,
    adamw_step,
)

NUMBERS = st.floats(-2, 2, allow_subnormal=False)
SETTINGS = st.builds(
    AdamSettings,
    lr=st.floats(0, 0.3),
    weight_decay=st.floats(0, 0.9),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.9999),
    eps=st.sampled_from([1e-8, 1e-3]),
)
TORCH: list[tuple[AdamUpdate, type[torch.optim.Optimizer]]] = [
    (adamw_step, torch.optim.AdamW),
    (adam_l2_step, torch.optim.Adam),
]
UPDATES = [update for update, _ in TORCH]


def path_of_torch(
    kind: type[torch.optim.Optimizer], weight: float, gradients: list[float], settings: AdamSettings
) -> tuple[list[float], AdamMoments]:
    parameter = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    betas = (settings.beta1, settings.beta2)
    make: Any = kind
    optimizer = make([parameter], settings.lr, betas, settings.eps, settings.weight_decay)
    weights = [weight]
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        weights.append(parameter.item())
    state = optimizer.state[parameter]
    return weights, AdamMoments(state["exp_avg"].item(), state["exp_avg_sq"].item())


@pytest.mark.parametrize(("update", "kind"), TORCH)
@test_settings(deadline=None)
@given(weight=NUMBERS, gradients=st.lists(NUMBERS, min_size=1, max_size=8), settings=SETTINGS)
def test_a_path_is_that_of_torch(
    update: AdamUpdate,
    kind: type[torch.optim.Optimizer],
    weight: float,
    gradients: list[float],
    settings: AdamSettings,
) -> None:
    expected, _ = path_of_torch(kind, weight, gradients, settings)
    assert adam_path(update, weight, gradients, settings) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("update", "kind"), TORCH)
def test_the_moments_are_those_of_torch(update: AdamUpdate, kind: type[torch.optim.Optimizer]) -> None:
    settings, weight, moments = AdamSettings(0.1, 0.5, 0.8, 0.9, 1e-3), 0.7, AdamMoments()
    gradients = [0.3, -0.2, 0.05]
    for step, gradient in enumerate(gradients, 1):
        after = update(weight, gradient, settings, moments, step)
        weight, moments = after.weight, after.moments
    assert moments == pytest.approx(path_of_torch(kind, 0.7, gradients, settings)[1], rel=1e-12)


def test_adamw_reproduces_the_worked_example() -> None:
    after = adamw_step(*EXAMPLE)
    assert after.gradient == 0.01
    assert after.moments == pytest.approx((1e-3, 5e-6), rel=1e-12)
    assert f"{after.task_part:.3g}" == "0.000134"
    assert f"{after.decay_part:.3g}" == "1.2e-05"
    assert f"{after.weight:.6f}" == "0.399854"


def test_adam_with_l2_reproduces_the_worked_example() -> None:
    after = adam_l2_step(*EXAMPLE)
    assert after.gradient == pytest.approx(0.05, rel=1e-12)
    assert after.moments == pytest.approx((5e-3, 1.25e-4), rel=1e-12)
    assert f"{after.weight:.6f}" == "0.399866"
    # "decay is 4x larger than the task gradient": both pass through the same factor.
    assert after.decay_part / after.task_part == pytest.approx(4, rel=1e-12)
    assert after.moments.second / adamw_step(*EXAMPLE).moments.second == pytest.approx(25, rel=1e-12)


def test_bias_correction_of_a_late_step_changes_little_and_of_the_first_much() -> None:
    for update in UPDATES:
        uncorrected, late, first = (update(*EXAMPLE, AdamMoments(), step).weight for step in (None, 1000, 1))
        assert late == pytest.approx(uncorrected, abs=1e-12)
        assert abs(first - uncorrected) > 1e-4


@pytest.mark.parametrize("update", UPDATES)
@given(weight=NUMBERS, gradient=NUMBERS, settings=SETTINGS, first=NUMBERS, second=st.floats(0, 2))
def test_the_parts_add_up_to_the_move(
    update: AdamUpdate, weight: float, gradient: float, settings: AdamSettings, first: float, second: float
) -> None:
    after = update(weight, gradient, settings, AdamMoments(first, second), 3)
    moved = after.task_part + after.decay_part
    assert weight - after.weight == pytest.approx(moved, rel=1e-9, abs=1e-12 * (1 + abs(after.weight)))


@pytest.mark.parametrize("update", UPDATES)
def test_without_weight_decay_the_two_are_one(update: AdamUpdate) -> None:
    settings = AdamSettings(0.01, 0.0)
    after = update(0.4, 0.3, settings, AdamMoments(0.1, 0.2), 5)
    assert after == adamw_step(0.4, 0.3, settings, AdamMoments(0.1, 0.2), 5)
    assert after.decay_part == 0
    assert after.task_part != 0


def test_without_a_gradient_adamw_shrinks_a_weight_by_a_factor() -> None:
    weight, _, settings = EXAMPLE
    path = adam_path(adamw_step, weight, [0.0] * 2000, settings)
    assert path[-1] == pytest.approx(weight * (1 - settings.lr * settings.weight_decay) ** 2000, rel=1e-12)


@pytest.mark.parametrize("weight_decay", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("weight", [0.4, -0.4])
def test_without_a_gradient_adam_with_l2_takes_the_lr_off_whatever_lambda(weight: float, weight_decay: float) -> None:
    settings = EXAMPLE[2]._replace(weight_decay=weight_decay)
    path = adam_path(adam_l2_step, weight, [0.0] * 500, settings)
    steps = [(before - after) / math.copysign(settings.lr, weight) for before, after in pairwise(path)]
    assert min(steps) > 0.98
    assert max(steps) <= 1 + 1e-9


def test_without_a_gradient_a_small_weight_dies_under_l2_and_lives_under_adamw() -> None:
    settings = EXAMPLE[2]
    assert abs(adam_path(adam_l2_step, 0.01, [0.0] * 200, settings)[-1]) < 2 * settings.lr
    assert adam_path(adamw_step, 0.01, [0.0] * 200, settings)[-1] > 0.0099


def test_a_weight_that_never_had_a_gradient_and_has_no_decay_stays() -> None:
    for update in UPDATES:
        assert adam_path(update, 0.4, [0.0] * 3, AdamSettings(0.1, 0.0)) == [0.4] * 4


GOOD = AdamSettings(0.1, 0.1)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, 0.1, GOOD), r"weight is nan; it must be in \(-inf, inf\)"),
        ((0.4, math.inf, GOOD), r"gradient is inf; it must be in \(-inf, inf\)"),
        ((0.4, 0.1, GOOD._replace(lr=-0.1)), r"lr is -0\.1; it must be in \[0, inf\)"),
        ((0.4, 0.1, GOOD._replace(weight_decay=math.nan)), r"weight_decay is nan; it must be in \[0, inf\)"),
        ((0.4, 0.1, GOOD._replace(beta1=1.0)), r"beta1 is 1\.0; it must be in \[0, 1\)"),
        ((0.4, 0.1, GOOD._replace(beta2=-0.1)), r"beta2 is -0\.1; it must be in \[0, 1\)"),
        ((0.4, 0.1, GOOD._replace(eps=0.0)), r"eps is 0\.0; it must be in \(0, inf\): .* 0/0"),
        ((0.4, 0.1, GOOD, AdamMoments(math.nan, 0.0)), r"moments\.first is nan"),
        ((0.4, 0.1, GOOD, AdamMoments(0.0, -1.0)), r"moments\.second is -1\.0; it must be in \[0, inf\)"),
        ((0.4, 0.1, GOOD, AdamMoments(), 0), r"step is 0; it must be in \[1, inf\): the first step is 1"),
    ],
)
def test_a_number_outside_its_range_is_named(update: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        update(*arguments)


def test_the_page_of_the_docs_shows_what_the_functions_give() -> None:
    page = Path(__file__).parents[2] / "docs/adam_l2.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried) == (0, 3)
