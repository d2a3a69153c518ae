"""References and the decay of a step, from the keys of a group."""

import math
from typing import Any

import pytest
import torch

from steadydecay.groups import settings
from steadydecay.groups.settings import decay_of, require_numbers, weight_decay_of_step, with_references
from steadydecay.known_optimizers.update_momentum import AVERAGE

DEFAULTS: dict[str, Any] = {
    "lr": 0.2,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.5,
    "decay": "corrected",
    "steady_norm_sq": None,
}


def group_with(**keys: Any) -> dict[str, Any]:
    return with_references(keys, DEFAULTS)


def test_defaults_fill_what_a_group_does_not_say() -> None:
    group = group_with(momentum=0.5, name="mine")
    assert group == {**DEFAULTS, "momentum": 0.5, "name": "mine", "reference_lr": 0.2, "reference_momentum": 0.5}


def test_neither_argument_is_written_to() -> None:
    group, defaults = {"lr": 0.1}, dict(DEFAULTS)
    with_references(group, defaults)
    assert (group, defaults) == ({"lr": 0.1}, DEFAULTS)


@pytest.mark.parametrize(
    ("keys", "reference_lr"),
    [
        ({}, 0.2),
        ({"lr": 0.1}, 0.1),
        ({"initial_lr": 0.4}, 0.4),
        ({"lr": 0.1, "initial_lr": 0.4}, 0.4),
        ({"lr": 0.1, "max_lr": 0.8}, 0.8),
        ({"lr": 0.1, "initial_lr": 0.4, "max_lr": 0.8}, 0.8),
        ({"lr": 0.1, "max_lr": 0.8, "reference_lr": 0.3}, 0.3),
        ({"lr": 0.1, "reference_lr": None}, 0.1),
    ],
)
def test_reference_lr_is_the_groups_own_in_a_fixed_order(keys: dict[str, Any], reference_lr: float) -> None:
    assert group_with(**keys)["reference_lr"] == reference_lr


def test_references_of_tensors_are_floats_that_do_not_move_with_them() -> None:
    lr, momentum = torch.tensor(0.25), torch.tensor(0.5)
    group = group_with(lr=lr, momentum=momentum)
    lr.fill_(0.0)
    momentum.fill_(0.0)
    assert (group["reference_lr"], group["reference_momentum"]) == (0.25, 0.5)
    assert isinstance(group["reference_lr"], float)
    assert isinstance(group["reference_momentum"], float)


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({}, "corrected"),
        ({"role": "hidden"}, "corrected"),
        ({"role": "output"}, "constant"),
        ({"role": "output", "decay": "exact"}, "exact"),
        ({"role": "output", "decay": "corrected"}, "corrected"),
    ],
)
def test_the_output_layer_is_not_corrected_unless_it_says_so(keys: dict[str, Any], rule: str) -> None:
    assert group_with(**keys)["decay"] == rule


@pytest.mark.parametrize(
    ("rule", "factor"),
    # Half the lr; γ_eff² per γ² is (1+β)/(1-β): 19 at 0.9, 9 at 0.8.
    [("constant", 0.5), ("corrected", 0.25 * 9 / 19)],
)
def test_decay_of_a_step_by_hand(rule: str, factor: float) -> None:
    group = group_with(decay=rule)
    assert decay_of(group) == pytest.approx(0.2 * 0.5)
    assert decay_of({**group, "lr": 0.1, "momentum": 0.8}) == pytest.approx(0.1 * factor, rel=1e-14)


def test_the_exact_rule_without_momentum_is_the_closed_form() -> None:
    """λ(γ) = (γ/S)/(1+√(1-γ²/S)), S = γ_ref/(λ_ref(2-γ_ref λ_ref))."""
    group = group_with(decay="exact", momentum=0.0)
    steady = 0.2 / (0.5 * (2 - 0.2 * 0.5))
    for lr in (0.0, 1e-9, 0.05, 0.2, 0.4):
        expected = lr**2 / steady / (1 + math.sqrt(1 - lr**2 / steady))
        assert decay_of({**group, "lr": lr}) == pytest.approx(expected, rel=1e-13)


def test_corrected_steady_norm_is_the_papers_algorithm() -> None:
    group = group_with(weight_decay=0.0, steady_norm_sq=4.0)
    for lr in (0.0, 0.05, 0.2):
        assert decay_of({**group, "lr": lr}) == pytest.approx(lr**2 * 19 / (2 * 4.0), rel=1e-14)


def test_tensors_in_tensors_out() -> None:
    group = group_with()
    decay = decay_of({**group, "lr": torch.tensor(0.1), "momentum": torch.tensor(0.8)})
    assert isinstance(decay, torch.Tensor)
    assert float(decay) == pytest.approx(0.1 * 0.25 * 9 / 19, rel=1e-6)


@pytest.mark.parametrize("rule", ["constant", "corrected", "exact"])
def test_a_group_added_at_lr_zero_without_decay_has_none_later(rule: str) -> None:
    group = group_with(lr=0.0, weight_decay=0.0, decay=rule)
    assert decay_of(group) == 0.0
    assert decay_of({**group, "lr": 0.1}) == 0.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lr": -1.0}, r"lr is -1\.0; it must be in \[0, inf\)"),
        ({"lr": math.nan}, r"lr is nan"),
        ({"momentum": 1.0}, r"momentum is 1\.0; it must be in \[0, 1\): PyTorch's convention is 0\.9"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0; it must be in \[0, inf\)"),
        ({"weight_decay": 5.0}, r"reference_lr · weight_decay is 1\.0; it must be in \[0, 1\): lower weight_decay"),
        ({"reference_momentum": -0.5}, r"reference_momentum is -0\.5; it must be in \[0, 1\)"),
        ({"reference_lr": -0.5, "decay": "constant"}, r"reference_lr is -0\.5; it must be in \[0, inf\)"),
        ({"decay": "none"}, r"decay rule is 'none'; it must be one of 'constant', 'corrected', 'exact'"),
        ({"lr": 0.0}, r"reference_lr is 0\.0; it must be in \(0, inf\): set it to the lr at which weight_decay"),
        ({"steady_norm_sq": 1.0}, r"steady_norm_sq=1\.0 and weight_decay=0\.5 both set the decay; pass only one"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_remedy(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_with(**keys)


@pytest.mark.parametrize(
    ("rule", "lowest", "remedy"),
    # One step alone leaves γ² = 0.04; "corrected" asks for γ_eff²/(2S) < 1, γ_eff² = 19 γ².
    [("constant", 0.04, "lr²"), ("exact", 0.04, "lr²"), ("corrected", 0.38, "use 'exact'")],
)
def test_the_lowest_steady_norm(rule: str, lowest: float, remedy: str) -> None:
    asked = {"weight_decay": 0.0, "decay": rule}
    with pytest.raises(ValueError, match=rf"steady_norm_sq is {0.99 * lowest!r}; .*{remedy}"):
        group_with(steady_norm_sq=0.99 * lowest, **asked)
    assert 0 < decay_of(group_with(steady_norm_sq=1.01 * lowest, **asked)) < 1


def test_a_steady_norm_needs_an_lr() -> None:
    with pytest.raises(
        ValueError, match=r"reference_lr is 0\.0; it must be in \(0, inf\): steady_norm_sq needs the lr"
    ):
        group_with(lr=0.0, weight_decay=0.0, steady_norm_sq=1.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lr": math.nan}, r"lr of group 3 is nan; it must be in \[0, inf\): .*schedule.* changed no weight"),
        ({"lr": -0.1}, r"lr of group 3 is -0\.1; it must be in \[0, inf\)"),
        ({"lr": 1e200}, r"lr of group 3 is|lr · weight_decay of group 3 is"),
        ({"momentum": 1.0}, r"momentum of group 3 is 1\.0; it must be in \[0, 1\)"),
        ({"weight_decay": 5.0}, r"lr · weight_decay of group 3 is 1\.0; it must be in \[0, 1\)"),
        ({"lr": torch.ones(2)}, r"lr of group 3 is a tensor of shape \(2,\)"),
    ],
)
def test_numbers_that_became_illegal_are_refused_by_group(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weight_decay_of_step({**group_with(), **keys}, AVERAGE, 3)


def test_tensors_on_an_accelerator_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_is_readable", lambda value: False)
    group = {**group_with(), "lr": torch.tensor(math.nan)}
    assert weight_decay_of_step(group, AVERAGE, 0).isnan()  # pyright: ignore[reportAttributeAccessIssue]
    require_numbers(group, 0)


@pytest.mark.parametrize("key", ["lr", "eps", "weight_decay", "beta3"])
def test_a_nan_is_never_legal_in_any_optimizers_group(key: str) -> None:
    require_numbers({"lr": None, "eps": (None, 1e-3), "params": [torch.tensor(math.nan)], "own": math.inf}, 1)
    with pytest.raises(ValueError, match=f"{key} of group 1 is nan"):
        require_numbers({"lr": 0.1, key: math.nan}, 1)
    with pytest.raises(ValueError, match=r"betas of group 1 is \(0\.9, nan\)"):
        require_numbers({"lr": 0.1, "betas": (0.9, math.nan)}, 1)
