"""A deep copy of a handle is a handle of the copy of its optimizer, and leaves the first alone."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import steadydecay as sd


def training(rule: Any = "corrected") -> dict[str, Any]:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([{"params": [parameter], "role": "hidden"}], 1e-2, weight_decay=0.1)
    handle, watch = sd.correct_weight_decay(optimizer, rule), sd.watch(optimizer, every=2)
    scheduler = CosineAnnealingLR(optimizer, 10)
    return {"optimizer": optimizer, "handle": handle, "watch": watch, "scheduler": scheduler, "parameter": parameter}


def go_on(training: dict[str, Any], steps: int) -> None:
    for _ in range(steps):
        training["parameter"].grad = torch.sin(training["parameter"].detach())
        training["optimizer"].step()
        training["scheduler"].step()


@pytest.mark.parametrize("rule", ["corrected", "exact", "cautious", "hyperball", ("corrected", "cautious")])
def test_a_copy_of_all_trains_as_the_first_would(rule: Any) -> None:
    first = training(rule)
    go_on(first, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = copy.deepcopy(first)
    go_on(other, 4)
    assert (first["watch"].measured_step, other["watch"].measured_step) == (4, 8)
    go_on(first, 4)
    assert torch.equal(first["parameter"], other["parameter"])
    assert first["watch"].metrics() == other["watch"].metrics()
    weight_decay = first["optimizer"].param_groups[0]["weight_decay"]
    assert other["optimizer"].param_groups[0]["weight_decay"] == weight_decay


def test_a_copy_is_removed_for_itself() -> None:
    first = training()
    go_on(first, 4)
    other = copy.deepcopy(first)
    other["handle"].remove()
    other["watch"].remove()
    assert other["optimizer"].param_groups[0]["weight_decay"] == 0.1
    assert "reference_lr" not in other["optimizer"].param_groups[0]
    assert first["optimizer"].param_groups[0]["reference_lr"] == 1e-2


def test_a_copy_of_what_was_removed_does_nothing() -> None:
    first = training()
    go_on(first, 4)
    first["handle"].remove()
    first["watch"].remove()
    other = copy.deepcopy(first)
    other["handle"].remove()
    go_on(other, 2)
    assert (other["optimizer"].param_groups[0]["weight_decay"], other["watch"].measured_step) == (0.1, 4)
    assert other["watch"].metrics() == first["watch"].metrics()
