"""Algorithm 1: what is left of the norm, and the measures."""

import pytest
import torch
from decoupled_reference import ReferenceRenormalizedAdamW
from test_contract import norms_of_a_walk, random_gradients, random_parameters, same_bits, train, values
from torch import nn

import steadydecay as sd
from steadydecay.optim.renormalized_adamw import renormalization


def test_the_measures_equal_the_reference() -> None:
    parameters = random_parameters((4, 3), (6,))
    reference = ReferenceRenormalizedAdamW(values(parameters), 0.1, (0.9, 0.999), 0.5, "constant")
    optimizer = sd.RenormalizedAdamW(parameters, lr=0.1, weight_decay=0.5)
    for step in range(10):
        train(optimizer, range(step, step + 1))
        reference.step(random_gradients(parameters, step), 0.1, (0.9, 0.999))
        for index, parameter in enumerate(parameters):
            state = optimizer.state[parameter]
            assert state["update_parallel"].ndim == state["update_perpendicular"].ndim == 0
            assert float(state["update_parallel"]) == pytest.approx(reference.parallel[index], abs=1e-9)
            assert float(state["update_perpendicular"]) == pytest.approx(reference.perpendicular[index], abs=1e-9)


def test_the_norm_after_a_step_lacks_the_perpendicular_part() -> None:
    parameters = random_parameters((30, 20))
    optimizer = sd.RenormalizedAdamW(parameters, lr=0.1, weight_decay=0.5)
    for step in range(10):
        before = parameters[0].norm().item()
        train(optimizer, range(step, step + 1))
        parallel = optimizer.state[parameters[0]]["update_parallel"].item()
        assert parameters[0].norm().item() == pytest.approx(abs(0.95 * before - 0.1 * parallel), rel=1e-12)


def test_by_hand() -> None:
    """θ = (3, 4), u = (1, 0), γ = 1, η = 1/2: u∥ = 3/5, ‖u⊥‖ = 4/5, wanted norm 5/2 - 3/5."""
    before = torch.tensor([3.0, 4.0], dtype=torch.float64)
    after = before / 2 - torch.tensor([1.0, 0.0])
    factor, parallel, perpendicular = renormalization(before, after, lr=1.0, decay=0.5)
    assert [parallel.item(), perpendicular.item()] == pytest.approx([0.6, 0.8])
    assert (factor * after.norm()).item() == pytest.approx(1.9)


def test_a_zero_weight_takes_the_plain_step_and_then_turns() -> None:
    ours, theirs = (nn.Parameter(torch.zeros(6, dtype=torch.float64)) for _ in range(2))
    optimizers = sd.RenormalizedAdamW([ours], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
    for optimizer in optimizers:
        train(optimizer, range(1))
    assert same_bits([ours], [theirs])
    state = optimizers[0].state[ours]
    assert state["update_parallel"] == 0
    assert state["update_perpendicular"].item() == pytest.approx(6**0.5, rel=1e-6)
    train(optimizers[0], range(1, 3))
    assert ours.isfinite().all()


def test_a_step_to_zero_stays_finite() -> None:
    before = torch.tensor([2.0])
    factor, parallel, perpendicular = renormalization(before, torch.zeros(1), lr=1.0, decay=0.0)
    assert (factor.item(), parallel.item(), perpendicular.item()) == (1.0, 2.0, 0.0)


@pytest.mark.parametrize("lr", [0.0, torch.tensor(0.0)], ids=["float", "tensor"])
def test_nothing_moved_is_no_update(lr: float | torch.Tensor) -> None:
    before = torch.tensor([0.1, 0.2, 0.7])
    factor, parallel, perpendicular = renormalization(before, before.clone(), lr=lr, decay=lr)
    assert (factor.item(), parallel.item(), perpendicular.item()) == (1.0, 0.0, 0.0)


def test_the_default_rule_is_that_of_adamw() -> None:
    assert sd.RenormalizedAdamW(random_parameters((3,))).param_groups[0]["decay"] == "constant"
    corrected = sd.RenormalizedAdamW(random_parameters((3,)), 0.1, decay="corrected")
    assert corrected.param_groups[0]["decay"] == "corrected"


def test_the_perpendicular_part_is_a_19th_of_the_squared_norm_under_momentum() -> None:
    """1/(1+2Σ(1-η)^k β^k) of it, 1/19 at β = 0.9: the norm hardly changes without it."""
    ends = []
    for optimizer_class in (sd.RenormalizedAdamW, sd.AdamC):
        parameter = nn.Parameter(torch.randn(10_000, generator=torch.Generator().manual_seed(3)))
        optimizer = optimizer_class([parameter], 0.1, (0.9, 0.999), weight_decay=0.05, decay="constant")
        ends.append(norms_of_a_walk(optimizer, 900, lambda step: {})[-1])
    assert ends[0] / ends[1] == pytest.approx((18 / 19) ** 0.5, rel=0.008)
