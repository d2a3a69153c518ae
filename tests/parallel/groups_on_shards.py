"""Cases of verbs_on_shards.py: parameter groups of wrapped and sharded models, and how their weights are filled."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from layouts import laid_out, of_all_ranks, placed_as, whole_model
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import steadydecay as sd
from steadydecay.groups.places import plain_name
from steadydecay.norms import Sign
from steadydecay.parallel.shards import local_part, part_of_whole, sharding_of

NORMS = ("spectral", "sign", "row_norm", "col_norm")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)


class Decoder(nn.Module):
    """Only its accessor tells which Linear is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.readout = nn.Embedding(13, 8), nn.Linear(8, 13, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.last = nn.Linear(8, 8)

    def get_output_embeddings(self) -> nn.Module:
        return self.readout


class Listed(nn.ModuleList):
    """A list that is a model: its wrapper must not be taken for one that holds a list."""

    def __init__(self) -> None:
        super().__init__([nn.Linear(8, 13), nn.Linear(8, 8)])

    def get_output_embeddings(self) -> nn.Module:
        return self[0]


def sharded(model: nn.Module, meshes: Any) -> Any:
    for block in model.blocks:  # pyright: ignore[reportGeneralTypeIssues]
        fully_shard(block, mesh=meshes[4,])
    return fully_shard(model, mesh=meshes[4,])


def parallel(model: nn.Module, meshes: Any) -> nn.Module:
    plan = {"blocks.*.qkv": ColwiseParallel(), "blocks.*.proj": RowwiseParallel()}
    return parallelize_module(model, meshes[2, 2]["tensor"], plan)


def both(model: nn.Module, meshes: Any) -> Any:
    return fully_shard(parallel(model, meshes), mesh=meshes[2, 2]["data"])


def checkpointed(model: nn.Module, meshes: Any) -> Any:
    blocks: Any = model.blocks
    for at, block in enumerate(blocks):
        blocks[at] = torch.compile(checkpoint_wrapper(block))
    return sharded(model, meshes)


WRAPPINGS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "ddp": lambda model, meshes: DistributedDataParallel(model),
    "compiled ddp": lambda model, meshes: torch.compile(DistributedDataParallel(model)),
    "ddp of compiled": lambda model, meshes: DistributedDataParallel(torch.compile(model)),
    "fsdp2": sharded,
    "tp": parallel,
    "tp and fsdp2": both,
    "compiled and checkpointed blocks": checkpointed,
}


def described(model: nn.Module) -> list[Any]:
    """What each group says, with plain names; a table says the same."""
    groups = sd.param_groups(model, "scion", lr=0.1, overrides={"blocks.1.*.weight": {"lr": 0.2}})
    said = [
        {key: value for key, value in group.items() if key not in ("params", "param_names", "role_notes")}
        | {
            "names": [
                plain_name(name.removeprefix("_orig_mod.").removeprefix("module.")) for name in group["param_names"]
            ]
        }
        | {"entries": sum(parameter.numel() for parameter in group["params"])}
        for group in groups
    ]
    return [said, len(sd.describe(groups).splitlines())]


def of_wrappings(meshes: Any) -> dict[str, Any]:
    """Whether wrapped models have the groups of bare ones, also those that are sharded without memory."""
    bare = described(Decoder())
    same = {name: described(wrap(Decoder(), meshes)) == bare for name, wrap in WRAPPINGS.items()}
    with torch.device("meta"):
        same |= {f"meta {name}": described(wrap(Decoder(), meshes)) == bare for name, wrap in META.items()}
    listed, wrapped = described_output(Listed()), described_output(DistributedDataParallel(Listed()))
    return same | {"a list": wrapped == [f"module.{name}" for name in listed] and bool(listed)}


META = {name: WRAPPINGS[name] for name in ("fsdp2", "tp", "tp and fsdp2", "compiled and checkpointed blocks")}


def described_output(model: nn.Module) -> list[str]:
    groups = sd.param_groups(model, "scion", lr=0.1)
    return [name for group in groups if group["role"] == "output" for name in group["param_names"]]


def groups_to_fill(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    return [{"params": [matrix], "norm": NORMS[at % len(NORMS)]} for at, matrix in enumerate(matrices)]


def filled(layout: str, meshes: Any) -> dict[str, Any]:
    """Whether each part has the bits that one process gives it, where each rank has drawn other numbers before."""
    rank, same = dist.get_rank(), []
    for is_given in (False, True):
        alone, cut = whole_model(), laid_out(layout, meshes)
        torch.manual_seed(7)
        generator = torch.Generator().manual_seed(7) if is_given else None
        sd.init_(groups_to_fill(alone), generator)
        torch.manual_seed(7 + rank)
        generator = torch.Generator().manual_seed(7 + rank) if is_given else None
        sd.init_(groups_to_fill(cut), generator)
        pairs = zip(cut.parameters(), alone.parameters(), strict=True)
        parts = ((local_part(one), part_of_whole(other.detach(), sharding_of(one))) for one, other in pairs)
        same.append(all(torch.equal(here, expected) for here, expected in parts))
    return {"same": same}


def generators_after(meshes: Any) -> list[Any]:
    """Whether each rank goes on with numbers of its own, and the first as one process would."""
    weight = nn.Parameter(placed_as(torch.zeros(5, 4), meshes[4,], [Shard(0)]))
    generator = torch.Generator().manual_seed(dist.get_rank())
    sd.init_([{"params": [weight], "norm": "sign"}], generator)
    alone = torch.Generator().manual_seed(dist.get_rank())
    if dist.get_rank() == 0:
        sd.init_([{"params": [nn.Parameter(torch.zeros(5, 4))], "norm": "sign"}], alone)
    return of_all_ranks(torch.equal(generator.get_state(), alone.get_state()))


def refused(meshes: Any) -> dict[str, str]:
    """What is said of weights that have no memory yet, and of a norm that is asked to fill a part."""
    with torch.device("meta"):
        model = sharded(Decoder(), meshes)
    part = placed_as(torch.zeros(5, 4), meshes[4,], [Shard(0)])
    return {
        "meta": error_of(lambda: sd.init_(sd.param_groups(model, "scion", lr=0.1))),
        "a norm alone": error_of(lambda: Sign().init_(part)),
    }


def error_of(work: Callable[[], Any]) -> str:
    try:
        work()
    except ValueError as error:
        return str(error)
    return ""
