"""State that is cut over ranks becomes whole and is cut again; other state stays as it is, object for object."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from steadydecay.optim.scion import Scion
from steadydecay.recipes.whole_state import gathered, load_whole_model, load_whole_optimizer


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Of one rank."""
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield DeviceMesh("cpu", [0])
    dist.destroy_process_group()


def test_what_holds_no_part_is_left_as_it_is() -> None:
    state = nn.Linear(2, 2).state_dict()
    assert gathered(state, is_kept=True) is gathered(state, is_kept=False) is state
    nested = {"groups": [{"betas": (0.9, 0.95)}], "count": 3}
    assert gathered(nested, is_kept=False) is nested


def test_parts_become_whole_where_they_are_kept(mesh: DeviceMesh) -> None:
    whole = torch.arange(6.0).view(3, 2)
    plain = torch.ones(2)
    state = {"cut": [(distribute_tensor(whole, mesh, [Shard(0)]), 1)], "plain": plain}
    kept, other = gathered(state, is_kept=True), gathered(state, is_kept=False)
    assert type(kept["cut"][0][0]) is torch.Tensor and torch.equal(kept["cut"][0][0], whole)
    assert other["cut"] == [(None, 1)]
    assert kept["plain"] is other["plain"] is plain
    assert isinstance(state["cut"][0][0], DTensor), "the state itself is as it was"


def test_a_whole_state_is_cut_as_its_weights_are(mesh: DeviceMesh) -> None:
    source, target = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)
    trained = Scion(source.parameters(), 0.1)
    source(torch.ones(2, 3)).sum().backward()
    trained.step()
    target.weight = nn.Parameter(distribute_tensor(target.weight.detach(), mesh, [Shard(0)]))
    loaded = Scion(target.parameters(), 0.5)
    load_whole_model(target, source.state_dict())
    load_whole_optimizer(loaded, trained.state_dict())
    momentum = loaded.state[target.weight]["momentum"]
    assert isinstance(target.weight, DTensor) and isinstance(momentum, DTensor)
    assert torch.equal(target.weight.full_tensor(), source.weight)
    assert torch.equal(momentum.full_tensor(), trained.state[source.weight]["momentum"])
    assert loaded.param_groups[0]["lr"] == 0.1
