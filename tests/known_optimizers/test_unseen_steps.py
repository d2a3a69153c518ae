"""Weights that move without a step that is seen bring one warning; nothing else does."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from wrapping_optimizers import adamw, backward, network

import steadydecay as sd
from steadydecay.known_optimizers.unseen_steps import PASSES


def correct(optimizer: Any) -> Any:
    return sd.correct_weight_decay(optimizer, where=lambda group: True)


@torch.no_grad()
def descend(model: nn.Module) -> None:
    """A loop, or a wrapper, that moves the weights itself."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data.sub_(parameter.grad)


def hooks_of(model: nn.Module) -> list[Any]:
    return [hooks for one in model.parameters() if (hooks := one._post_accumulate_grad_hooks)]


@pytest.mark.parametrize("verb", [correct, sd.watch])
def test_an_optimizer_that_is_never_stepped_is_named_once(verb: Any) -> None:
    model = network()
    optimizer = adamw(model)
    verb(optimizer)
    with pytest.warns(UserWarning, match=r"weights of AdamW have moved in 20 .* has not seen any step") as caught:
        for seed in range(3 * PASSES):
            backward(model, seed)
            descend(model)
    assert len(caught) == 1
    assert not hooks_of(model)


@pytest.mark.parametrize("verb", [correct, sd.watch])
def test_an_optimizer_that_is_gone_is_not_waited_for(verb: Any) -> None:
    model = network()
    verb(adamw(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(PASSES):
            backward(model, seed)
            descend(model)
    assert not hooks_of(model)


def test_a_copy_whose_hooks_are_lost_is_named() -> None:
    model = network()
    optimizer = adamw(model)
    correct(optimizer)
    state = optimizer.__getstate__()
    unhooked = copy.copy(optimizer)
    unhooked.__setstate__(state)
    with pytest.warns(UserWarning, match="a copy of an optimizer, which has lost its hooks"):
        for seed in range(PASSES):
            backward(model, seed)
            unhooked.step()


@pytest.mark.parametrize("verb", [correct, sd.watch])
@pytest.mark.parametrize("accumulation", [1, 2 * PASSES + 1])
def test_steps_and_accumulation_bring_no_warning(verb: Any, accumulation: int) -> None:
    model = network()
    optimizer = adamw(model)
    verb(optimizer)
    # Weights that are loaded before the first backward pass have not moved by a step.
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(3 * PASSES):
            backward(model, seed)
            if (seed + 1) % accumulation == 0:
                optimizer.step()
    assert not hooks_of(model)


def test_removing_takes_the_count_off() -> None:
    model = network()
    handle, watch = correct(optimizer := adamw(model)), sd.watch(optimizer)
    assert hooks_of(model)
    handle.remove()
    watch.remove()
    assert not hooks_of(model)
