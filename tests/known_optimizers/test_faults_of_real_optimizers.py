"""What went wrong silently with real classes of other packages."""

from typing import Any

import pytest
import torch
from real_optimizers import class_of
from torch import nn

import steadydecay as sd


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)))]


def step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def test_a_momentum_schedule_of_the_papers_share_never_keeps_gradients_out() -> None:
    """SCION's `momentum` is the share of the new gradient: at 0 none would enter."""
    optimizer = class_of("pytorch_optimizer", "SCION")(parameters(), lr=0.1, momentum=0.1)
    scheduler = sd.EffectiveLR(optimizer, "linear", steps=10, via="momentum")
    start = sd.theory.effective_lr(0.1, 0.9)
    shares = []
    for _ in range(10):
        group = optimizer.param_groups[0]
        assert 0.0999 <= group["momentum"] <= 1
        shares.append(sd.theory.effective_lr(float(group["lr"]), 1 - float(group["momentum"])) / start)
        step(optimizer)
        scheduler.step()
    assert shares == pytest.approx([1 - at / 10 for at in range(10)])


@pytest.mark.parametrize("build", [sd.Scion, sd.Lion, sd.SGDW, sd.AdamC])
def test_a_max_lr_of_none_is_no_reference_in_our_own_groups(build: Any) -> None:
    """optimi's groups hold max_lr=None."""
    optimizer = build([{"params": parameters(), "max_lr": None, "initial_lr": 0.2}], lr=0.1)
    assert optimizer.param_groups[0]["reference_lr"] == 0.2


def test_an_optimizer_that_corrects_itself_is_not_corrected_twice() -> None:
    optimizer = class_of("heavyball", "AdamC")(parameters(), lr=0.1, weight_decay=0.5, max_lr=0.1)
    with pytest.raises(
        ValueError, match=r"AdamC cannot be corrected: the optimizer corrects the decay itself, .*lr³; use heavyball"
    ):
        sd.correct_weight_decay(optimizer, where=0)
    with pytest.warns(UserWarning, match="does not act as"):
        sd.watch(optimizer)


def test_the_size_of_adamw_with_its_betas_in_two_keys_is_predicted() -> None:
    optimizer = class_of("optimi", "AdamW")(parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=1.0)
    of_torch = torch.optim.AdamW(parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=1.0)
    norms = []
    for one in (optimizer, of_torch):
        watch = sd.watch(one)
        step(one)
        norms.append(watch.metrics()["group/group_0/predicted_norm"])
    assert norms[0] == pytest.approx(norms[1])
