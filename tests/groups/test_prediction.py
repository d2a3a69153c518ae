"""Predicted steady norms against real optimizers on pure noise."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.groups.prediction import applied_decay, predicted_norm_sq, stepped_by, update_blocks, update_norm_sq
from steadydecay.known_optimizers.table import ADAM
from steadydecay.theory import steady_norm_sq

ETA = 0.05
Build = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


def scion(norm: Any, **options: Any) -> Build:
    return lambda groups: sd.Scion(groups, lr=0.1, weight_decay=ETA / 0.1, norm=norm, **options)


CASES: dict[str, tuple[Build, tuple[int, ...], float]] = {
    "sign": (scion("sign"), (30, 40), 0.02),
    "sign nesterov": (scion("sign", nesterov=True, momentum=0.95), (30, 40), 0.02),
    "square": (scion("spectral"), (32, 32), 0.02),
    "wide": (scion("spectral"), (16, 64), 0.02),
    "stack": (scion("spectral"), (3, 24, 24), 0.02),
    "fused": (scion({"name": "spectral", "split_sizes": (32, 8, 8)}), (48, 32), 0.02),
    "convolution": (scion("spectral_conv"), (16, 8, 3, 3), 0.02),
    "vector": (scion("bias"), (1000,), 0.02),
    "columns": (scion("col_norm"), (4, 300), 0.02),
    "rows": (scion("row_norm"), (300, 4), 0.02),
    "lion": (lambda groups: sd.Lion(groups, lr=0.1, weight_decay=ETA / 0.1), (1200,), 0.02),
    "adamw": (lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=ETA / 0.1), (1200,), 0.02),
    # torch's iteration leaves singular values between 0.7 and 1.2.
    "muon": (lambda groups: torch.optim.Muon(groups, lr=0.1, weight_decay=ETA / 0.1), (48, 24), 0.2),
    "muon matched": (
        lambda groups: torch.optim.Muon(groups, lr=0.1, weight_decay=ETA / 0.1, adjust_lr_fn="match_rms_adamw"),
        (48, 24),
        0.2,
    ),
}


def walk(build: Build, shape: tuple[int, ...], steps: int = 900) -> tuple[torch.optim.Optimizer, float, float]:
    """The optimizer after pure noise, with the means of ‖θ‖² and ‖u‖² once the start is forgotten."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.zeros(shape))
    optimizer = build([{"params": [weight]}])
    norms_sq, updates_sq = [], []
    for step in range(steps):
        weight.grad = torch.randn(shape, generator=generator)
        before = weight.detach().clone()
        optimizer.step()
        if step >= 200:
            norms_sq.append(float(weight.detach().square().sum()))
            updates_sq.append(float((weight.detach() - (1 - ETA) * before).square().sum()) / 0.1**2)
    return optimizer, math.fsum(norms_sq) / len(norms_sq), math.fsum(updates_sq) / len(updates_sq)


@pytest.mark.parametrize("name", CASES)
def test_predicted_norm_is_that_of_a_walk(name: str) -> None:
    build, shape, tolerance = CASES[name]
    optimizer, norm_sq, measured_update_norm_sq = walk(build, shape)
    group = optimizer.param_groups[0]
    momentum = stepped_by(optimizer, group)
    # A mean over 700 steps of 1/(2η) = 10 each, of about 1000 entries: half a percent.
    assert math.sqrt(predicted_norm_sq(group, shape, momentum) / norm_sq) == pytest.approx(1, abs=tolerance)
    with_measured = predicted_norm_sq(group, shape, momentum, measured_update_norm_sq)
    assert math.sqrt(with_measured / norm_sq) == pytest.approx(1, abs=0.02)


def test_sgd_is_predicted_from_its_measured_size_alone() -> None:
    optimizer, norm_sq, measured = walk(lambda groups: sd.SGDW(groups, lr=0.1, weight_decay=ETA / 0.1), (1200,))
    group = optimizer.param_groups[0]
    momentum = stepped_by(optimizer, group)
    assert math.isnan(predicted_norm_sq(group, (1200,), momentum))
    assert math.isnan(update_norm_sq(group, (1200,), momentum))
    assert math.sqrt(predicted_norm_sq(group, (1200,), momentum, measured) / norm_sq) == pytest.approx(1, abs=0.02)


def test_parts_of_a_fused_weight_have_their_own_laws() -> None:
    group = {"norm": {"name": "spectral", "split_sizes": (8, 8, 2)}, "lr": 0.1, "momentum": 0.9, "weight_decay": 1.0}
    optimizer = sd.Scion([nn.Parameter(torch.ones(18, 8))], **group)
    momentum = stepped_by(optimizer, optimizer.param_groups[0])
    blocks = update_blocks(optimizer.param_groups[0], (18, 8), momentum)
    assert blocks == [(("spectral", 8, 8), 16.0), (("spectral", 2, 8), pytest.approx(0.5))]
    parts = [steady_norm_sq(0.1, 0.1, 0.9, lmo=lmo) * size for lmo, size in blocks]
    assert predicted_norm_sq(optimizer.param_groups[0], (18, 8), momentum) == pytest.approx(sum(parts))
    measured = predicted_norm_sq(optimizer.param_groups[0], (18, 8), momentum, 2 * 16.5)
    assert measured == pytest.approx(2 * sum(parts))


def test_an_unknown_muon_has_no_size() -> None:
    weight = nn.Parameter(torch.ones(4, 8))
    optimizer = torch.optim.Muon([weight], lr=0.1, weight_decay=0.1)
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "adjust_lr_fn"}
    momentum = stepped_by(optimizer, optimizer.param_groups[0])
    assert math.isnan(predicted_norm_sq(group, (4, 8), momentum))
    assert predicted_norm_sq(group, (4, 8), momentum, 4.0) > 0


def test_no_decay_and_l2_have_no_steady_state() -> None:
    weight = nn.Parameter(torch.ones(4))
    for optimizer, expected in (
        (torch.optim.AdamW([weight], weight_decay=0.0), math.inf),
        (torch.optim.Adam([weight], weight_decay=0.1), math.nan),
    ):
        group = optimizer.param_groups[0]
        assert predicted_norm_sq(group, (4,), ADAM) == pytest.approx(expected, nan_ok=True)


def test_the_decay_is_that_of_the_rule() -> None:
    optimizer = sd.ScionC([nn.Parameter(torch.ones(4, 4))], lr=0.1, weight_decay=0.5)
    group = optimizer.param_groups[0]
    group["lr"] = 0.05
    assert applied_decay(group, stepped_by(optimizer, group)) == pytest.approx(0.05 * 0.25)
    assert applied_decay({"lr": 0.1, "weight_decay": 0.5}, ADAM) == pytest.approx(0.05)


def test_empty_weights_have_no_norm() -> None:
    optimizer = sd.Scion([nn.Parameter(torch.ones(0, 4))], lr=0.1, weight_decay=0.5)
    assert predicted_norm_sq(optimizer.param_groups[0], (0, 4), stepped_by(optimizer, optimizer.param_groups[0])) == 0
