"""SGDW beside torch.optim.SGD, and what its sum of gradients does to the steady norm."""

from typing import Any

import pytest
import torch
from decoupled_reference import heavy_ball_direction, nesterov_direction, norm_sq_per_gradient
from test_contract import assert_close, norms_of_a_walk, random_parameters, train, values, zero_vector
from torch.optim import SGD

import steadydecay as sd
from steadydecay.known_optimizers.update_momentum import HEAVY_BALL, heavy_ball_sum


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_without_decay_it_is_torch_s_sgd(nesterov: bool, momentum: float) -> None:
    ours, theirs = (random_parameters((4, 3), (6,)) for _ in range(2))
    optimizers = (
        sd.SGDW(ours, 0.1, momentum, nesterov=nesterov),
        SGD(theirs, 0.1, momentum, nesterov=nesterov and momentum > 0),
    )
    for step in range(12):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            train(optimizer, range(step, step + 1))
    assert_close(ours, theirs, 1e-14)


def test_decay_is_decoupled_from_gradient_and_momentum() -> None:
    parameters = random_parameters((6,))
    optimizer, before = sd.SGDW(parameters, 0.1, 0.9, weight_decay=0.5), values(parameters)
    for _ in range(3):
        parameters[0].grad = torch.zeros_like(parameters[0])
        optimizer.step()
    assert_close(parameters, [before[0] * (1 - 0.05) ** 3], 1e-14)
    assert optimizer.state[parameters[0]]["momentum"].count_nonzero() == 0


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_filter_is_that_of_the_impulse_response(momentum: float, nesterov: bool) -> None:
    found, direction = heavy_ball_sum(momentum, nesterov), nesterov_direction if nesterov else heavy_ball_direction
    for decay in (1e-4, 0.05, 0.5):
        slow = norm_sq_per_gradient(direction, False, 0.1, decay, momentum)
        fast = found.scale_sq * sd.theory.steady_norm_sq(0.1, decay, found)
        assert fast == pytest.approx(slow, rel=1e-9)
    # Small decay: one gradient adds γ/(1-β) in all.
    assert sd.theory.effective_lr(0.1, found) == pytest.approx(0.1 / (1 - momentum), rel=1e-12)
    assert HEAVY_BALL.of({"momentum": momentum, "nesterov": nesterov}) == found


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_norm_is_what_the_derivation_says(nesterov: bool) -> None:
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.2}
    norms = norms_of_a_walk(sd.SGDW(zero_vector(), **settings), 900, lambda step: {})
    found = heavy_ball_sum(0.8, nesterov)
    mean_square = sum(norm**2 for norm in norms[300:]) / 600
    assert mean_square == pytest.approx(found.scale_sq * sd.theory.steady_norm_sq(0.1, 0.02, found), rel=0.03)


def test_dampening_is_not_an_argument() -> None:
    """torch's fourth positional argument; SGD(params, lr, momentum, dampening) must not become something else."""
    positional: Any = sd.SGDW
    with pytest.raises(TypeError):
        positional(random_parameters((3,)), 0.1, 0.9, 0.0)
