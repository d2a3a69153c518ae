import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from steadydecay.theory import (
    DECAY_RULES,
    Reference,
    decay,
    decay_for_norm,
    effective_lr,
    reference_weight_decay,
    steady_norm_sq,
    weight_decay,
)

properties = settings(derandomize=True, deadline=None, max_examples=100)
every_rule = pytest.mark.parametrize("rule", DECAY_RULES)
momenta = st.one_of(st.just(0.0), st.floats(0, 0.999))


@st.composite
def references(draw: st.DrawFn, largest_decay: float = 0.99) -> Reference:
    lr = draw(st.floats(1e-6, 10))
    return Reference(lr, draw(st.floats(1e-10, largest_decay)) / lr, draw(momenta))


def held_norm_sq(reference: Reference, nesterov: bool) -> float:
    reference_decay = reference.lr * reference.weight_decay
    return steady_norm_sq(reference.lr, reference_decay, reference.momentum, nesterov=nesterov)


@every_rule
@properties
@given(reference=references(), nesterov=st.booleans())
def test_rule_at_the_reference_is_the_reference_bit_for_bit(rule: str, reference: Reference, nesterov: bool) -> None:
    here = weight_decay(reference.lr, reference.momentum, nesterov, reference, rule)
    assert here == reference.weight_decay
    assert decay(reference.lr, reference.momentum, nesterov, reference, rule) == reference.lr * reference.weight_decay


@every_rule
@properties
@given(reference=references(), momentum=momenta, nesterov=st.booleans())
def test_rule_at_zero_lr_is_finite_and_decays_nothing(
    rule: str, reference: Reference, momentum: float, nesterov: bool
) -> None:
    assert math.isfinite(weight_decay(0.0, momentum, nesterov, reference, rule))
    assert decay(0.0, momentum, nesterov, reference, rule) == 0


@every_rule
@properties
@given(
    reference=references(),
    momentum=momenta,
    nesterov=st.booleans(),
    fraction=st.floats(0, 100),
    growth=st.floats(1e-9, 10),
)
def test_rule_does_not_fall_with_lr(
    rule: str, reference: Reference, momentum: float, nesterov: bool, fraction: float, growth: float
) -> None:
    low = weight_decay(reference.lr * fraction, momentum, nesterov, reference, rule)
    high = weight_decay(reference.lr * fraction * (1 + growth), momentum, nesterov, reference, rule)
    assert low <= high * (1 + 1e-15)


@every_rule
@properties
@given(reference=references(), momentum=momenta, nesterov=st.booleans())
def test_rule_without_decay_stays_without(rule: str, reference: Reference, momentum: float, nesterov: bool) -> None:
    off = reference._replace(weight_decay=0.0)
    assert weight_decay(0.5 * reference.lr, momentum, nesterov, off, rule) == 0


@every_rule
# At 4.39e-9 and 2.76e-9 rounding takes a square below zero.
@pytest.mark.parametrize("momentum", [0.0, 1e-20, 4.39228404222476e-09, 2.7620991207551353e-09, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_rule_is_finite_where_no_decay_can_hold_the_norm(rule: str, momentum: float, nesterov: bool) -> None:
    reference = Reference(0.1, 0.5, momentum)
    for lr in (0.5, 10.0, 1e6):
        assert math.isfinite(weight_decay(lr, momentum, nesterov, reference, rule))
        in_float32 = weight_decay(torch.tensor(lr), momentum, nesterov, reference, rule)  # pyright: ignore[reportArgumentType]
        assert math.isfinite(in_float32)


@properties
@given(reference=references(), fraction=st.floats(1e-12, 100), momentum=momenta, nesterov=st.booleans())
def test_constant_keeps_the_coefficient(reference: Reference, fraction: float, momentum: float, nesterov: bool) -> None:
    here = weight_decay(reference.lr * fraction, momentum, nesterov, reference, "constant")
    assert here == reference.weight_decay


@properties
@given(reference=references(), fraction=st.floats(1e-12, 100), momentum=momenta, nesterov=st.booleans())
def test_corrected_follows_the_squared_effective_lr(
    reference: Reference, fraction: float, momentum: float, nesterov: bool
) -> None:
    lr = reference.lr * fraction
    ratio = effective_lr(lr, momentum, nesterov) / effective_lr(reference.lr, reference.momentum, nesterov)
    wanted = reference.lr * reference.weight_decay * ratio**2
    assert decay(lr, momentum, nesterov, reference, "corrected") == pytest.approx(wanted, rel=1e-13)


@properties
@given(reference=references(), fraction=st.floats(1e-12, 30), momentum=momenta, nesterov=st.booleans())
def test_exact_holds_the_norm_at_any_lr_and_momentum(
    reference: Reference, fraction: float, momentum: float, nesterov: bool
) -> None:
    norm_sq = held_norm_sq(reference, nesterov)
    lr = min(reference.lr * fraction, 0.9999 * math.sqrt(norm_sq))
    here = decay(lr, momentum, nesterov, reference, "exact")
    assert steady_norm_sq(lr, here, momentum, nesterov=nesterov) == pytest.approx(norm_sq, rel=1e-12)


@properties
@given(reference=references(), fraction=st.floats(1e-12, 1))
def test_exact_without_momentum_is_the_closed_form(reference: Reference, fraction: float) -> None:
    plain, lr = reference._replace(momentum=0.0), reference.lr * fraction
    with mpmath.workdps(60):
        gamma, reference_lr, coefficient = mpmath.mpf(lr), mpmath.mpf(plain.lr), mpmath.mpf(plain.weight_decay)
        norm_sq = reference_lr / (coefficient * (2 - reference_lr * coefficient))
        truth = float((gamma / norm_sq) / (1 + mpmath.sqrt(1 - gamma**2 / norm_sq)))
    assert weight_decay(lr, 0.0, False, plain, "exact") == pytest.approx(truth, rel=1e-13)


@properties
@given(reference=references(largest_decay=1e-9), fraction=st.floats(0.01, 1), nesterov=st.booleans())
def test_exact_becomes_corrected_for_small_decay(reference: Reference, fraction: float, nesterov: bool) -> None:
    slow = reference._replace(momentum=min(reference.momentum, 0.99))
    exact, corrected = (weight_decay(slow.lr * fraction, 0.95, nesterov, slow, rule) for rule in ("exact", "corrected"))
    assert exact == pytest.approx(corrected, rel=1e-6)


def test_exact_differs_from_corrected_for_large_decay() -> None:
    reference = Reference(lr=0.1, weight_decay=1.0, momentum=0.95)
    exact, corrected = (weight_decay(0.01, 0.95, False, reference, rule) for rule in ("exact", "corrected"))
    assert corrected < 0.5 * exact


def tensor(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(value, dtype=dtype)


@every_rule
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("lr", [0.0, 1e-12, 0.05, 0.1, 0.2])
def test_rule_gives_the_same_number_for_tensors(rule: str, nesterov: bool, lr: float) -> None:
    reference = Reference(lr=0.1, weight_decay=0.3, momentum=0.9)
    number = decay(lr, 0.85, nesterov, reference, rule)
    of_tensors = decay(tensor(lr), tensor(0.85), nesterov, reference, rule)  # pyright: ignore[reportArgumentType]
    assert isinstance(of_tensors, Tensor)
    assert float(of_tensors) == pytest.approx(number, rel=1e-14)
    momentum_alone = decay(lr, tensor(0.85), nesterov, reference, rule)  # pyright: ignore[reportArgumentType]
    assert float(momentum_alone) == pytest.approx(number, rel=1e-14)
    in_float32 = decay(tensor(lr, torch.float32), 0.85, nesterov, reference, rule)  # pyright: ignore[reportArgumentType]
    assert float(in_float32) == pytest.approx(number, rel=1e-5)


@every_rule
def test_rule_does_not_write_to_a_tensor(rule: str) -> None:
    lr, momentum = tensor(0.05), tensor(0.85)
    weight_decay(lr, momentum, True, Reference(0.1, 0.3, 0.9), rule)  # pyright: ignore[reportArgumentType]
    assert (lr, momentum) == (0.05, 0.85)


@pytest.mark.parametrize("nesterov", [False, True])
def test_corrected_is_the_papers_algorithm_at_every_step(nesterov: bool) -> None:
    norm_sq, peak_lr, peak_momentum = 7.0, 0.04, 0.9
    coefficient = reference_weight_decay(norm_sq, peak_lr, peak_momentum, nesterov=nesterov, rule="corrected")
    reference = Reference(peak_lr, coefficient, peak_momentum)
    for step in range(1, 100):
        lr, momentum = peak_lr * math.cos(math.pi * step / 200), 0.95 - 0.9 * step / 100
        wanted = effective_lr(lr, momentum, nesterov) ** 2 / (2 * norm_sq)
        assert decay(lr, momentum, nesterov, reference, "corrected") == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("rule", ["constant", "exact"])
@properties
@given(lr=st.floats(1e-6, 10), excess=st.floats(1e-3, 1e9), momentum=momenta, nesterov=st.booleans())
def test_reference_weight_decay_asks_for_the_norm(
    rule: str, lr: float, excess: float, momentum: float, nesterov: bool
) -> None:
    norm_sq = lr**2 * (1 + excess)
    coefficient = reference_weight_decay(norm_sq, lr, momentum, nesterov=nesterov, rule=rule)
    assert steady_norm_sq(lr, lr * coefficient, momentum, nesterov=nesterov) == pytest.approx(norm_sq, rel=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_exact_from_a_norm_is_decay_for_norm_at_every_step(nesterov: bool) -> None:
    coefficient = reference_weight_decay(7.0, 0.4, 0.9, nesterov=nesterov, rule="exact")
    reference = Reference(0.4, coefficient, 0.9)
    for lr in (0.4, 0.1, 1e-3, 1e-12):
        wanted = decay_for_norm(7.0, lr, 0.7, nesterov=nesterov)
        assert decay(lr, 0.7, nesterov, reference, "exact") == pytest.approx(wanted, rel=1e-13)


LEGAL_RULES = f"it must be one of {', '.join(map(repr, DECAY_RULES))}"
ERRORS: list[tuple[Callable[[], float], str]] = [
    (lambda: weight_decay(0.1, 0.0, False, Reference(0.1, 0.1), "cosine"), "^decay rule is 'cosine'; " + LEGAL_RULES),
    (lambda: decay(0.1, 0.0, False, Reference(0.1, 0.1), ""), "^decay rule is ''; " + LEGAL_RULES),
    (lambda: reference_weight_decay(2.0, 1.0, rule="linear"), "^decay rule is 'linear'; " + LEGAL_RULES),
    (lambda: reference_weight_decay(2.0, 0.0, rule="exact"), r"^lr is 0\.0; it must be in \(0, inf\): .*peak"),
    (lambda: reference_weight_decay(2.0, 0.0, rule="corrected"), r"^lr is 0\.0; it must be in \(0, inf\): "),
    (lambda: reference_weight_decay(2.0, -1.0, rule="corrected"), r"^lr is -1\.0; it must be in \(0, inf\): "),
    (
        lambda: reference_weight_decay(1.0, 1.0, rule="corrected"),
        r"^steady_norm_sq is 1\.0; it must be in \(1\.0, inf\): ",
    ),
    (lambda: reference_weight_decay(2.0, 1.0, 1.0, rule="exact"), r"^momentum is 1\.0; it must be in \[0, 1\): "),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_argument_out_of_range_is_named(call: Callable[[], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
