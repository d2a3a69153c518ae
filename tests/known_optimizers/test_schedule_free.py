"""Schedule-free optimizers, whose weights are an average over all steps, are not corrected and not predicted."""

import warnings
from typing import Any

import pytest
import pytorch_optimizer
import torch
from torch import nn
from wrapping_optimizers import LR, WEIGHT_DECAY, adamw, backward, network

import steadydecay as sd

OF_PYTORCH_OPTIMIZER = ("ScheduleFreeAdamW", "ScheduleFreeSGD", "ScheduleFreeRAdam")
# Of packages that the tests do not install: schedulefree's, and heavyball's before its first step.
BY_NAME = ("AdamWScheduleFree", "SGDScheduleFree", "RAdamScheduleFreeClosure", "SFAdamW")


def built(name: str, model: nn.Module) -> Any:
    kind = getattr(pytorch_optimizer, name, None) or type(name, (torch.optim.AdamW,), {})
    return kind(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)


@pytest.mark.parametrize("name", [*OF_PYTORCH_OPTIMIZER, *BY_NAME])
def test_the_correction_is_refused_and_no_norm_is_predicted(name: str) -> None:
    model = network()
    optimizer = built(name, model)
    with pytest.raises(
        ValueError, match=f"group 0 of {name} cannot be corrected: the weights are an average over all steps, .*; use"
    ):
        sd.correct_weight_decay(optimizer, where=lambda group: True)
    assert "reference_lr" not in optimizer.param_groups[0]
    with pytest.warns(UserWarning, match=rf"of {name}'s groups \[0\] does not act .* no norm is predicted"):
        watch = sd.watch(optimizer)
    backward(model, 0)
    optimizer.step()
    assert "layer/group_0.0/weight_norm" in watch.metrics()
    assert "layer/group_0.0/predicted_norm" not in watch.metrics()


def test_a_group_that_keeps_the_sum_of_the_average_tells() -> None:
    """heavyball's own classes have any name; so have those of users."""
    optimizer = torch.optim.AdamW([{"params": network().parameters(), "weight_sum": 0.0}], lr=LR)
    with pytest.raises(ValueError, match="average over all steps"):
        sd.correct_weight_decay(optimizer, where=lambda group: True)


def test_a_wrapper_that_averages_is_refused_and_the_monitor_says_whose_norms_it_predicts() -> None:
    wrapper = pytorch_optimizer.ScheduleFreeWrapper(adamw(network()))
    with pytest.raises(ValueError, match="optimizer is a ScheduleFreeWrapper: the weights are an average"):
        sd.correct_weight_decay(wrapper, where=lambda group: True)
    with pytest.warns(UserWarning, match="ScheduleFreeWrapper are an average .* that of AdamW without the average"):
        sd.watch(wrapper)


def test_empty_entries_in_the_state_are_no_steps_that_were_taken() -> None:
    """`train()` of schedulefree looks into a defaultdict, and leaves an empty entry for each weight."""
    optimizer = adamw(network())
    for parameter in optimizer.param_groups[0]["params"]:
        assert not optimizer.state[parameter]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd.correct_weight_decay(optimizer, where=lambda group: True)


def test_a_proxy_that_hides_what_it_holds_is_refused_with_a_remedy() -> None:
    class Proxy:
        __slots__ = ("_held",)

        def __init__(self, held: Any) -> None:
            self._held = held

        def __getattr__(self, name: str) -> Any:
            return getattr(self._held, name)

    proxy: Any = Proxy(adamw(network()))
    with pytest.raises(TypeError, match=r"optimizer is a Proxy; .* pass the torch optimizer that it steps"):
        sd.correct_weight_decay(proxy)
