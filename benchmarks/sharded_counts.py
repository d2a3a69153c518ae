"""Count what one optimizer step asks of torch.distributed and of the products, beside what the formulas say."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, final
from unittest.mock import patch

import torch
import torch.distributed as dist
from parallel_cost import FLOPS_PER_MULTIPLICATION, LIMITS, ddp, fsdp
from sharded_weights import built, stepped
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from steadydecay.bench.memory import allocations
from steadydecay.bench.shape_sets import SHAPE_SETS, Entry
from steadydecay.bench.work import plain_work
from steadydecay.norms.spectral import Spectral
from steadydecay.optim.batches.laid_out import LaidOutWeight
from steadydecay.optim.batches.step_cost import StepCost, on_one_rank, step_cost

CPU = torch.device("cpu")
COUNTED_SET = "gpt2-small"
NONE = "–"
NO_COLLECTIVES = ("wait_tensor", "_wrap_tensor_autograd")


@final
@dataclass(frozen=True)
class Count:
    """One step of one optimizer under one strategy.

    Args:
        optimizer, strategy, ranks: which.
        layers: of the model that was stepped.
        flops: of the LMOs by the plain form, received_bytes, state_bytes, peak_bytes: by rank. An all-reduce counts as
            the 2(N-1)/N of its bytes that a ring brings, a reduce-scatter as (N-1)/N.
        momentum_bytes: by rank, of what is averaged once, as all of ScionC's state is.
        all_to_alls, other_collectives, full_tensors: calls of one rank.
        whole_flops, whole_momentum_bytes: on one rank, of the same layers.
    """

    optimizer: str
    strategy: str
    ranks: int
    layers: int
    flops: list[float]
    received_bytes: list[float]
    momentum_bytes: list[int]
    peak_bytes: list[int]
    all_to_alls: int
    other_collectives: int
    full_tensors: int
    whole_flops: float
    whole_momentum_bytes: int


class Counter(TorchDispatchMode):
    """What one rank asks of torch.distributed, and the products of local matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.received_bytes, self.flops = 0.0, 0.0
        self.all_to_alls, self.other_collectives = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(one, DTensor) for one in types):
            # It is taken apart into what happens here, and that comes back.
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        space, _, name = str(func._schema.name).partition("::")
        if space == "c10d" or (space == "_c10d_functional" and name not in NO_COLLECTIVES):
            self._collective(name, args, result)
        elif name in ("mm", "addmm"):
            first, second = args[-2:]
            self.flops += FLOPS_PER_MULTIPLICATION * first.shape[0] * first.shape[1] * second.shape[1]
        return result

    def _collective(self, name: str, args: Any, result: Any) -> None:
        ranks, own = dist.get_world_size(), dist.get_rank()
        if name == "alltoall_base_":
            self.all_to_alls += 1
            self.received_bytes += (sum(args[3]) - args[3][own]) * args[0].itemsize
            return
        self.other_collectives += 1
        share = (ranks - 1) / ranks
        if name in ("_allgather_base_", "all_gather_into_tensor"):
            gathered = args[0] if name.endswith("_base_") else result
            self.received_bytes += share * gathered.nbytes
        elif name == "reduce_scatter_tensor":
            self.received_bytes += share * args[0].nbytes
        elif name in ("allreduce_", "all_reduce"):
            reduced = args[0][0] if name == "allreduce_" else args[0]
            self.received_bytes += 2 * share * reduced.nbytes
        else:
            raise RuntimeError(f"the collective {name} is not known to the benchmark; add what it receives")


def count(name: str, strategy: str, entries: Sequence[Entry], layers: int) -> Count:
    optimizers = built(name, strategy, entries)
    # The first step makes state and agreements that last.
    stepped(optimizers)
    counter, calls = Counter(), {"full_tensor": 0, "multiplications": 0}
    with ExitStack() as stack:
        stack.enter_context(patch.object(DTensor, "full_tensor", _counting_full_tensors(calls)))
        stack.enter_context(patch.object(Spectral, "lmo_of_each", _counting_products(calls)))
        stack.enter_context(counter)
        stepped(optimizers)
    (measured,) = allocations([lambda: stepped(optimizers)], CPU)
    own_flops = FLOPS_PER_MULTIPLICATION * calls["multiplications"]
    found: list[Any] = [None] * dist.get_world_size()
    mine = (
        own_flops if name == "ScionC" else counter.flops,
        counter.received_bytes,
        momentum_bytes(optimizers[0]),
        measured.peak,
    )
    dist.all_gather_object(found, mine)
    flops, received, momentum, peaks = (list(column) for column in zip(*found, strict=True))
    stepping = entries if name == "ScionC" else [entry for entry in entries if entry.role == "hidden"]
    return Count(
        optimizer=name,
        strategy=strategy,
        ranks=dist.get_world_size(),
        layers=layers,
        flops=flops,
        received_bytes=received,
        momentum_bytes=momentum,
        peak_bytes=peaks,
        all_to_alls=counter.all_to_alls,
        other_collectives=counter.other_collectives,
        full_tensors=calls["full_tensor"],
        whole_flops=plain_work(entries),
        whole_momentum_bytes=sum(4 * math.prod(entry.shape) for entry in stepping),
    )


def _counting_full_tensors(calls: dict[str, int]) -> Callable[..., Any]:
    real = DTensor.full_tensor

    def full_tensor(tensor: DTensor, **arguments: Any) -> Any:
        calls["full_tensor"] += 1
        return real(tensor, **arguments)

    return full_tensor


def _counting_products(calls: dict[str, int]) -> Callable[..., Any]:
    real = Spectral.lmo_of_each

    def lmo_of_each(norm: Spectral, gradients: Sequence[Tensor]) -> Any:
        calls["multiplications"] += sum(norm.lmo_cost(gradient).multiplications for gradient in gradients)
        return real(norm, gradients)

    return lmo_of_each


def momentum_bytes(optimizer: Optimizer) -> int:
    held: list[Any] = [tensor for state in optimizer.state.values() for tensor in state.values()]
    return sum((tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes for tensor in held)


def paper(count: Count, layers: int | None = None) -> StepCost:
    """What the formulas say of ScionC on this machine's kind of device; of all layers unless some are asked for."""
    return step_cost(_laid_out(count, layers), LIMITS, CPU)


def whole_on_paper(count: Count) -> StepCost:
    """The same for one process, of all layers."""
    return on_one_rank(_laid_out(count, None), CPU)


def _laid_out(count: Count, layers: int | None) -> list[LaidOutWeight]:
    strategy = {"DDP": ddp, "FSDP2": fsdp}[count.strategy]
    return [strategy(entry, count.ranks) for entry in SHAPE_SETS[COUNTED_SET].entries(layers)]


def counts_table(counts: Sequence[Count]) -> str:
    """All layers of the model: of ScionC by the formulas, of Muon, which steps matrices one by one, in proportion."""
    lines = [
        "| processes | strategy | optimizer | LMO FLOPs ÷ even | momentum ÷ even | received, MB | all-to-alls | "
        "buckets | other collectives, counted | `full_tensor`, counted | temporaries, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_scionc_line(one) if one.optimizer == "ScionC" else _muon_line(one) for one in counts])


def _scionc_line(one: Count) -> str:
    cost, whole = paper(one), whole_on_paper(one)
    buckets = max(cost.buckets)
    reduced = 2 * (one.ranks - 1) / one.ranks * max(cost.reduced_bytes)
    return _cells(
        one,
        max(cost.multiplications) * one.ranks / whole.multiplications[0],
        max(cost.state_bytes) * one.ranks / whole.state_bytes[0],
        max(cost.received_bytes) + reduced,
        (str(2 * buckets), str(buckets), str(one.other_collectives), str(one.full_tensors)),
        max(cost.temporary_bytes),
    )


def _muon_line(one: Count) -> str:
    scale = SHAPE_SETS[COUNTED_SET].layers / one.layers
    return _cells(
        one,
        max(one.flops) * one.ranks / one.whole_flops,
        max(one.momentum_bytes) * one.ranks / one.whole_momentum_bytes,
        max(one.received_bytes) * scale,
        (str(round(one.all_to_alls * scale)), NONE, str(one.other_collectives), str(one.full_tensors)),
        max(one.peak_bytes),
    )


def _cells(one: Count, flops: float, momentum: float, received: float, calls: Sequence[str], peak: float) -> str:
    measured = [f"{flops:.2f}", f"{momentum:.2f}", _megabytes(received), *calls, _megabytes(peak)]
    return f"| {' | '.join([str(one.ranks), one.strategy, one.optimizer, *measured])} |"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.3g}" if size < 1e9 else f"{size / 1e6:.0f}"


def faults(counts: Sequence[Count]) -> list[str]:
    """Where what a run counted is not what the formulas say of the same layers."""
    found = []
    for one in counts:
        if one.optimizer != "ScionC":
            continue
        cost = paper(one, one.layers)
        share = 2 * (one.ranks - 1) / one.ranks
        received = [a + share * b for a, b in zip(cost.received_bytes, cost.reduced_bytes, strict=True)]
        flops = [FLOPS_PER_MULTIPLICATION * multiplications for multiplications in cost.multiplications]
        pairs = {"bytes": (received, one.received_bytes), "FLOPs": (flops, one.flops)}
        for what, (computed, counted) in pairs.items():
            if [round(x) for x in computed] != [round(x) for x in counted]:
                found.append(f"{what} of {one.strategy} on {one.ranks}: {computed} computed, {counted} counted")
    return found
