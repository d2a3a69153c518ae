"""How the ranks of a run share its model: replicated on each of them (DDP), or sharded over them (FSDP2)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard
from torch.nn.parallel import DistributedDataParallel

from steadydecay.recipes.precision import uses_bfloat16
from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.workers import Workers

Strategy = Literal["ddp", "fsdp"]


@final
@dataclass(frozen=True)
class SharedModel:
    """The model of a run on this rank.

    Attributes:
        model: The module whose weights are stepped and which is evaluated.
        loss_of: Returns the mean loss of this rank's share of a batch. A backward pass from it averages gradients over
            ranks.
        without_exchange: A context in which a backward pass only adds to this rank's own gradients. The next backward
            pass outside of it averages their sums.
    """

    model: nn.Module
    loss_of: Callable[..., Tensor]
    without_exchange: Callable[[], AbstractContextManager[Any]] = nullcontext


def require_strategy(strategy: str) -> None:
    """Raise ValueError unless `strategy` is one of `Strategy`."""
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy is {strategy!r}; it must be one of {', '.join(map(repr, get_args(Strategy)))}")


def shared_model(model: nn.Module, recipe: Recipe, workers: Workers, strategy: Strategy) -> SharedModel:
    """Return the model as the ranks share it. Call it on every rank, before an optimizer is made for its weights.

    A single process has the whole model, whatever the strategy.
    """
    if workers.world_size > 1 and strategy == "fsdp":
        return _cut_over_ranks(model, recipe, workers)
    model.to(workers.device)
    loss_of = _compiled(model, recipe)
    if workers.world_size == 1:
        return SharedModel(model, loss_of)
    replica = DistributedDataParallel(loss_of)
    return SharedModel(model, replica, replica.no_sync)


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts that FSDP2 gathers one after the other: the entries of the outermost module lists.

    An entry without submodules (a single layer or activation) is not a part, because each part needs collectives of
    its own.
    """
    is_list = isinstance(model, nn.ModuleList | nn.Sequential)
    for child in model.children():
        if not is_list:
            yield from blocks_of(child)
        elif next(child.children(), None) is not None and next(child.parameters(), None) is not None:
            yield child


def even_cut(shape: tuple[int, ...], ranks: int) -> int:
    """Return the dimension to shard a weight along: the first that divides evenly over the ranks, or else the first."""
    return next((dim for dim, length in enumerate(shape) if length % ranks == 0), 0)


def _cut_over_ranks(model: nn.Module, recipe: Recipe, workers: Workers) -> SharedModel:
    mesh = init_device_mesh(workers.device.type, (workers.world_size,))
    shared: dict[str, Any] = {
        "mesh": mesh,
        "shard_placement_fn": lambda weight: Shard(even_cut(tuple(weight.shape), workers.world_size)),
    }
    # As under autocast, the blocks have matrix products in bfloat16 and everything between them in float32. Weights
    # outside of the blocks (embeddings, the output layer) stay in float32, as autocast needs for embeddings.
    lower = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    policy = lower if uses_bfloat16(recipe.precision, workers.device) else MixedPrecisionPolicy()
    for block in blocks_of(model):
        fully_shard(block, mp_policy=policy, **shared)
    root: Any = fully_shard(model, **shared)
    return SharedModel(root, _compiled(root, recipe), lambda: _local_gradients(root))


@contextmanager
def _local_gradients(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def _compiled(model: nn.Module, recipe: Recipe) -> Any:
    return torch.compile(model) if recipe.compile else model
