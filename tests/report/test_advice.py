"""Advice: each finding at its threshold, with the numbers that led to it and a remedy that works."""

import math
import re

import pytest
import torch

from steadydecay.monitor.verdict import SETTLING_TIME
from steadydecay.report import advice
from steadydecay.report.advice import Finding
from steadydecay.theory import effective_lr, steady_norm_sq


def words(finding: Finding | None) -> str:
    assert finding is not None
    return f"{finding.title} | {finding.evidence} | {finding.remedy}"


def number_after(text: str, words_before: str) -> float:
    found = re.search(re.escape(words_before) + r"\s*([\d.,]*\d(?:e-?\d+)?)", text)
    assert found, (words_before, text)
    return float(found[1].replace(",", ""))


# Never steady


def never_steady(lasted: float, **given: float) -> Finding | None:
    numbers = {"peak_lr": 2e-3, "peak_decay": 2e-4, "norm": 35.0, "peak_steady_norm": 77.0} | given
    return advice.never_steady("hidden", 600, lasted, **numbers)


def test_a_run_of_a_few_time_constants_is_long_enough() -> None:
    assert never_steady(SETTLING_TIME) is None
    assert never_steady(0.0) is None, "no decay, no steady state"
    assert "0.24 time constants" in words(never_steady(0.24))
    assert f"{math.exp(-0.24):.0%} of the initial squared norm" in words(never_steady(0.24))


def test_the_run_length_and_the_decay_asked_for_are_long_and_strong_enough() -> None:
    text = words(never_steady(0.24))
    assert number_after(text, "times as long (") == pytest.approx(600 * SETTLING_TIME / 0.24, rel=0.03)
    assert number_after(text, "to η =") == pytest.approx(2e-4 * SETTLING_TIME / 0.24, rel=0.03)
    assert never_steady(0.24 * 1.01 * SETTLING_TIME / 0.24) is None, "the decay that it asks for suffices"


def test_the_norms_named_are_those_of_the_theory() -> None:
    momentum, update_norm = 0.9, 40.0
    lr, decay, norm = 2e-3, 2e-4, 35.0
    steady = math.sqrt(steady_norm_sq(lr, decay, momentum)) * update_norm
    text = words(
        never_steady(0.24, peak_lr=effective_lr(lr, momentum), peak_decay=decay, norm=norm, peak_steady_norm=steady)
    )
    then = math.sqrt(steady_norm_sq(lr, SETTLING_TIME / 0.24 * decay, momentum)) * update_norm
    assert number_after(text, "with a steady norm of about") == pytest.approx(then, rel=0.02)
    held = number_after(text, f"instead of {steady:.3g}. η =")
    assert math.sqrt(steady_norm_sq(lr, held, momentum)) * update_norm == pytest.approx(norm, rel=0.02)


@pytest.mark.parametrize(
    "unknown", [{"peak_steady_norm": math.nan}, {"peak_steady_norm": math.inf}, {"norm": math.nan}]
)
def test_without_a_prediction_it_speaks_of_decay_alone(unknown: dict[str, float]) -> None:
    text = words(never_steady(0.5, **unknown))
    assert "η = 0.0008" in text and "with a steady norm of" not in text and "nan" not in text


def test_a_norm_that_no_decay_can_hold_is_not_promised() -> None:
    text = words(never_steady(0.5, peak_lr=0.5, peak_decay=0.01, norm=0.1, peak_steady_norm=10.0))
    assert "instead of 10" in text and "would hold" not in text


def test_a_decay_never_takes_more_than_the_whole_weight() -> None:
    assert "η = 0.99 per step" in words(never_steady(0.001, peak_decay=0.01))


def test_time_constants_add_up_over_a_schedule_and_over_gaps_in_the_log() -> None:
    assert advice.time_constants([1, 2, 3], [0.0, 0.1, 0.2]) == pytest.approx(-2 * math.log(0.9 * 0.8))
    assert advice.time_constants([10, 20], [0.1, 0.2]) == pytest.approx(-20 * math.log(0.9 * 0.8))
    assert advice.time_constants([], []) == 0


# The rise of the gradient norm


@pytest.mark.parametrize(
    ("numbers", "title"),
    [
        ((1.0, 1.3, 40.0, 30.0), "The gradient norm rises at the end because the weight norm falls"),
        ((1.0, 1.02, 40.0, 30.0), "The weight norm falls at the end and keeps the gradient norm from falling"),
        ((1.0, 0.9, 40.0, 30.0), "The weight norm falls at the end and keeps the gradient norm from falling"),
        ((1.0, 2.0, 40.0, 30.0), "The gradient norm rises at the end by more than the falling weight norm explains"),
        ((1.0, 1.3, 40.0, 40.0), "The gradient norm rises at the end, but not because of the weight norm"),
        ((1.0, 1.3, 40.0, 50.0), "The gradient norm rises at the end, but not because of the weight norm"),
    ],
)
def test_a_rise_is_set_against_the_fall_of_the_norm(numbers: tuple[float, ...], title: str) -> None:
    finding = advice.gradient_rise(*numbers)
    assert finding is not None and finding.title == title
    assert f"{numbers[1] / numbers[0]:.2f}" in finding.evidence
    assert ("sd.correct_weight_decay" in finding.remedy) == (numbers[3] < numbers[2])


def test_the_product_of_the_norms_is_named() -> None:
    text = words(advice.gradient_rise(2.0, 2.6, 40.0, 30.0))
    assert "from 40 to 30 (-25%)" in text
    assert "multiplies the gradient norm by 1.33. It went from 2 to 2.6, a factor of 1.30" in text
    assert "factor of 0.98" in text, "1.3 · 0.75"


@pytest.mark.parametrize(
    "numbers", [(1.0, 1.0, 40.0, 40.0), (1.0, 0.8, 40.0, 41.0), (math.nan, 1, 1, 1), (1, 2, math.nan, 1), (0, 1, 2, 1)]
)
def test_steady_norms_and_missing_numbers_give_no_advice(numbers: tuple[float, ...]) -> None:
    assert advice.gradient_rise(*numbers) is None


# The rule of the decay


LRS = [0.1, 0.08, 0.05, 0.02, 0.01]


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_is_read_off_the_schedules(power: float) -> None:
    assert advice.decay_exponent(LRS, [3 * lr**power for lr in LRS]) == pytest.approx(power)


def test_a_constant_learning_rate_tells_no_exponent() -> None:
    assert math.isnan(advice.decay_exponent([0.1, 0.06], [0.1, 0.06]))
    assert math.isnan(advice.decay_exponent([0.1, 0.01], [0.0, 0.0]))
    assert math.isnan(advice.decay_exponent([], []))


@pytest.mark.parametrize("role", ["hidden", "conv", "embedding", "vector", "router"])
def test_every_role_but_the_output_should_be_corrected(role: str) -> None:
    assert f"decay of the {role} layers is not corrected" in words(advice.correction_of(role, 1.02))
    assert "power 1.02" in words(advice.correction_of(role, 1.02))
    for exponent in (1.95, 0.0, 1.5, math.nan):
        assert advice.correction_of(role, exponent) is None


def test_what_the_missing_correction_cost_is_said_where_it_is_known() -> None:
    assert "ended at 76% of its largest value" in words(advice.correction_of("hidden", 1.0, norm_kept=0.76))
    assert "ended" not in words(advice.correction_of("hidden", 1.0))


def test_the_output_layer_should_stay_as_it_is() -> None:
    corrected = advice.correction_of("output", 2.0, -0.05)
    assert corrected is not None and not corrected.is_fine
    assert "should be constant" in corrected.title and "-0.050" in corrected.evidence
    assert 'decay="constant"' in corrected.remedy and "Appendix D" in corrected.remedy
    constant = advice.correction_of("output", 1.0)
    assert constant is not None and constant.is_fine and "cosine" not in constant.evidence
    assert advice.correction_of("output", math.nan) is None
    assert advice.correction_of("group_0", 1.0) is None, "who knows what it is"


# Rounding


@pytest.mark.parametrize(
    ("dtype", "decay", "share"),
    [
        ("bfloat16", 2.0**-12, "100%"),
        ("bfloat16", 2.0**-9, "100%"),
        ("bfloat16", 2.0**-8 / 1.5, "50%"),
        ("float16", 2.0**-12, "100%"),
        ("float16", 2.0**-11 / 1.25, "25%"),
    ],
)
def test_a_decay_below_half_a_unit_is_lost(dtype: str, decay: float, share: str) -> None:
    text = words(advice.rounded_away("hidden", dtype, False, decay))
    assert f"rounds away in {dtype}" in text and f"{share} or more" in text and "does not say" not in text
    assert "does not say whether rounding was compensated" in words(advice.rounded_away("hidden", dtype, None, decay))


@pytest.mark.parametrize(
    ("dtype", "is_compensated", "decay"),
    [
        ("bfloat16", True, 1e-6),
        ("bfloat16", False, 2.0**-8),
        ("bfloat16", False, 0.0),
        ("float32", None, 1e-6),
        ("float16", None, 2.0**-11),
        (None, True, 1e-6),
        (None, None, 0.01),
    ],
)
def test_a_decay_that_survives_gives_no_advice(dtype: str | None, is_compensated: bool | None, decay: float) -> None:
    assert advice.rounded_away("hidden", dtype, is_compensated, decay) is None


def test_the_share_that_rounds_away_is_that_of_real_bfloat16_weights() -> None:
    weights = (1 + torch.rand(4096, generator=torch.Generator().manual_seed(0))).bfloat16()
    decay = 2.0**-8 / 1.5
    kept = (weights - weights * decay == weights).float().mean().item()
    assert kept == pytest.approx(0.5, abs=0.05)


def test_weights_of_unknown_format_get_a_doubt_and_no_verdict() -> None:
    text = words(advice.rounded_away("hidden", None, None, 1e-4))
    assert (
        "whether the hidden weights are kept in bfloat16" in text and "Nothing, if the weights are in float32" in text
    )


# Updates and verdicts


def test_updates_of_another_size_are_named_with_their_factor() -> None:
    text = words(advice.update_size({"a": 1.0, "b": 0.5, "c": 1.3, "d": math.nan, "e": 0.0, "f": math.inf}))
    assert "In b, updates are 0.50 times" in text and "2 of 6" in text and "divide it by 0.25 for this layer" in text
    assert "in all" not in words(advice.update_size({"b": 2.0, "a": 1.0}))
    assert advice.update_size({"a": 0.8, "b": 1.25, "c": math.nan}) is None
    assert advice.update_size({}) is None


def test_layers_that_are_not_steady_are_counted() -> None:
    verdicts = {"a": "steady", "b": "rising", "c": "no decay", "d": "falling", "e": "rising"}
    text = words(advice.unsteady_layers(verdicts, is_corrected=False))
    assert "3 of 4 layers" in text and "2 rising, 1 falling" in text and "b, d, e" in text
    assert advice.unsteady_layers({"a": "steady", "c": "no decay"}, is_corrected=False) is None
    assert advice.unsteady_layers({}, is_corrected=True) is None


def test_nobody_is_told_to_correct_what_is_corrected() -> None:
    verdicts = {"a": "falling"}
    assert "correct the decay" in words(advice.unsteady_layers(verdicts, is_corrected=False))
    assert "correct the decay" not in words(advice.unsteady_layers(verdicts, is_corrected=True))
    assert [advice.is_corrected(power) for power in (1.0, 1.9, 2.0, math.nan)] == [False, True, True, False]
