"""Several optimizers as one: groups, state, schedules and checkpoints are shared with the parts."""

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from steadydecay.optim.adamc import AdamC
from steadydecay.optim.scion import Scion
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizer_chain import OptimizerChain
from steadydecay.recipes.optimizers import OPTIMIZERS


def weights(seed: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(4, 3, generator=generator)) for _ in range(2)]


def parts(parameters: list[Any]) -> tuple[Scion, AdamC]:
    groups: list[Any] = [{"params": [parameter], "role": "hidden"} for parameter in parameters]
    return Scion(groups[:1], 0.1, weight_decay=0.5, decay="corrected"), AdamC(groups[1:], 0.02, weight_decay=0.5)


def train(parameters: list[Any], optimizers: Any, schedulers: Any, seeds: range) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for part in (*optimizers, *schedulers):
            part.step()


def assert_same(first: list[Any], second: list[Any]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_it_equals_its_parts_each_with_a_schedule() -> None:
    apart, together = weights(), weights()
    optimizers, chain = parts(apart), OptimizerChain(*parts(together))
    train(apart, optimizers, [CosineAnnealingLR(optimizer, 9) for optimizer in optimizers], range(9))
    train(together, [chain], [CosineAnnealingLR(chain, 9)], range(9))
    assert_same(together, apart)
    assert [group["lr"] for group in chain.param_groups] == [0.0, 0.0]


def test_it_resumes_exactly_into_parts_with_other_numbers() -> None:
    parameters = weights()
    chain = OptimizerChain(*parts(parameters))
    scheduler = CosineAnnealingLR(chain, 9)
    train(parameters, [chain], [scheduler], range(4))
    file = io.BytesIO()
    torch.save([[p.detach() for p in parameters], chain.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    values, state, schedule = torch.load(file, weights_only=True)
    train(parameters, [chain], [scheduler], range(4, 9))

    resumed = [nn.Parameter(value) for value in values]
    other = OptimizerChain(Scion(resumed[:1], 7.0), AdamC(resumed[1:], 3.0))
    other_scheduler = CosineAnnealingLR(other, 9)
    other.load_state_dict(state)
    other_scheduler.load_state_dict(schedule)
    train(resumed, [other], [other_scheduler], range(4, 9))
    assert_same(resumed, parameters)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content))])
def test_a_copy_continues_exactly(copied: Callable[[Any], Any]) -> None:
    parameters = weights()
    chain = OptimizerChain(*parts(parameters))
    scheduler = CosineAnnealingLR(chain, 9)
    train(parameters, [chain], [scheduler], range(4))
    twins, twin, twin_scheduler = copied((parameters, chain, scheduler))
    train(parameters, [chain], [scheduler], range(4, 9))
    train(twins, [twin], [twin_scheduler], range(4, 9))
    assert_same(twins, parameters)


def test_weights_that_are_cast_have_their_state_in_the_chain_too() -> None:
    parameters = weights()
    chain = OptimizerChain(*parts(parameters))
    train(parameters, [chain], [], range(2))
    for parameter in parameters:
        parameter.data = parameter.data.bfloat16()
        parameter.grad = torch.ones_like(parameter)
    chain.step()
    for parameter in parameters:
        assert chain.state[parameter]["compensation"].dtype == torch.bfloat16
    resumed = OptimizerChain(*parts(parameters))
    resumed.load_state_dict(chain.state_dict())
    resumed.step()


def test_a_closure_runs_once_and_its_loss_comes_back() -> None:
    parameters, calls = weights(), []
    chain = OptimizerChain(*parts(parameters))

    def closure() -> Tensor:
        calls.append(1)
        loss = sum((parameter.square().sum() for parameter in parameters), torch.zeros(()))
        loss.backward()
        return loss

    before = sum(parameter.detach().square().sum() for parameter in parameters)
    assert chain.step(closure) == before
    assert len(calls) == 1


def test_muon_s_update_is_torch_s() -> None:
    """On a matrix, up to the polynomial: torch's leaves singular values between 0.7 and 1.2, ours within 0.13 of 1."""
    (ours, _), (theirs, _) = weights(), weights()
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    model[0].weight = ours
    recipe = replace(gpt_recipe("mini", "muon", {}), lr=0.1, momentum=0.95, decay_per_step=0.05)
    optimizers = OPTIMIZERS["muon"](model, recipe), torch.optim.Muon([theirs], 0.1, weight_decay=0.5)
    updates: list[Tensor] = []
    for seed in range(6):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
            before = parameter.detach() * (1 - 0.05)
            optimizer.step()
            updates.append((before - parameter.detach()) / 0.1)
    for our_update, their_update in zip(updates[::2], updates[1::2], strict=True):
        assert torch.cosine_similarity(our_update.flatten(), their_update.flatten(), dim=0) > 0.97
        assert float(our_update.norm()) == pytest.approx((3 * 4 / 3) ** 0.5, rel=0.13)


@pytest.mark.parametrize(("name", "rule"), [("muon", "constant"), ("muonc", "corrected")])
def test_muon_has_the_hidden_matrices_and_adamw_the_rest(name: str, rule: str) -> None:
    chain = OPTIMIZERS[name](GPT(17, layers=2, heads=1, width=8), gpt_recipe("mini", name, {}))
    assert isinstance(chain, OptimizerChain)
    scion, adam = chain.optimizers
    assert (type(scion), type(adam)) == (Scion, AdamC)
    (hidden,), (output,) = scion.param_groups, adam.param_groups
    assert (hidden["role"], hidden["decay"], hidden["nesterov"], hidden["momentum"]) == ("hidden", rule, True, 0.95)
    assert hidden["norm"]["scale"] == "max"
    assert (output["role"], output["decay"], output["betas"]) == ("output", "constant", (0.9, 0.95))
    assert (3, 8, 8) in {tuple(parameter.shape) for parameter in hidden["params"]}
