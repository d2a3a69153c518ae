"""How ranks share a model: which parts are gathered one by one, along what weights are cut, in which precision."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.strategy import blocks_of, even_cut, require_strategy, shared_model
from steadydecay.recipes.train import train
from steadydecay.recipes.workers import Workers

SMALL = {"layers": 2, "heads": 1, "width": 16, "length": 8, "batch_size": 4, "steps": 4}


def test_the_blocks_are_the_entries_of_the_outermost_lists() -> None:
    inner = nn.ModuleList([nn.Sequential(nn.Linear(2, 2))])
    block = nn.ModuleDict({"inner": inner, "other": nn.Linear(2, 2)})
    model = nn.ModuleDict({"body": nn.ModuleList([block, nn.Linear(2, 2), nn.Sequential(nn.ReLU())])})
    assert list(blocks_of(model)) == [block], "no part of a block, no single layer, nothing without weights"
    assert list(blocks_of(nn.Sequential(block, nn.Linear(2, 2)))) == [block]
    assert list(blocks_of(nn.Linear(2, 2))) == []
    gpt = GPT(256, 2, 1, 16)
    assert list(blocks_of(gpt)) == list(gpt.blocks)


@pytest.mark.parametrize(
    ("shape", "ranks", "dim"),
    [((256, 32), 4, 0), ((3, 32, 32), 2, 1), ((3, 32, 32), 3, 0), ((5, 7), 2, 0), ((7,), 2, 0), ((3, 9, 8), 8, 2)],
)
def test_a_weight_is_cut_along_the_first_dimension_that_the_ranks_share_evenly(
    shape: tuple[int, ...], ranks: int, dim: int
) -> None:
    assert even_cut(shape, ranks) == dim


def test_an_unknown_strategy_is_refused_before_anything_is_made(tmp_path: object) -> None:
    message = "strategy is 'ddpp'; it must be one of 'ddp', 'fsdp'"
    with pytest.raises(ValueError, match=message):
        require_strategy("ddpp")
    with pytest.raises(ValueError, match=message):
        train(gpt_recipe("mini", "adamw", SMALL), f"{tmp_path}/run", strategy="ddpp")  # pyright: ignore[reportArgumentType]
    assert not dist.is_initialized()


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_has_all_of_the_model(strategy: str) -> None:
    model = GPT(256, 2, 1, 16)
    alone = Workers(0, 1, torch.device("cpu"))
    shared = shared_model(model, gpt_recipe("mini", "adamw", SMALL), alone, strategy)  # pyright: ignore[reportArgumentType]
    assert shared.model is shared.loss_of is model
    assert not isinstance(model, FSDPModule)


@pytest.mark.parametrize(("precision", "inside"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_the_blocks_compute_as_the_recipe_asks_and_the_weights_stay_in_float32(
    precision: str, inside: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a model cut over ranks is, bit for bit, that of the whole one under autocast."""
    whole, cut = GPT(64, 2, 1, 16), GPT(64, 2, 1, 16)
    for model in (whole, cut):
        torch.manual_seed(0)
        for weight in model.parameters():
            nn.init.normal_(weight, std=0.2)
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        # Says that there are two, so that it is cut; the mesh has one.
        monkeypatch.setattr("steadydecay.recipes.strategy.init_device_mesh", lambda device, _: one_rank(device))
        recipe = gpt_recipe("mini", "adamw", {**SMALL, "precision": precision})
        shared = shared_model(cut, recipe, Workers(0, 2, torch.device("cpu")), "fsdp")
        assert all(isinstance(weight, DTensor) and weight.dtype == torch.float32 for weight in cut.parameters())
        seen: list[torch.dtype] = []
        up: nn.Linear = cut.get_submodule("blocks.0.mlp.up")  # pyright: ignore[reportAssignmentType]
        up.register_forward_hook(lambda *_: seen.append(up.weight.dtype))
        tokens = torch.arange(16).view(2, 8)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            expected, found = whole(tokens, tokens), shared.loss_of(tokens, tokens)
        assert seen == [inside]
        assert torch.equal(found, expected)
        found.backward()
        expected.backward()
        for weight, other in zip(cut.parameters(), whole.parameters(), strict=True):
            assert isinstance(weight.grad, DTensor) and weight.grad.dtype == torch.float32
            assert torch.allclose(weight.grad.full_tensor(), other.grad, rtol=1e-5, atol=1e-6)  # pyright: ignore
    finally:
        dist.destroy_process_group()


def one_rank(device: str) -> object:
    return dist.device_mesh.DeviceMesh(device, [0])
