"""Count and time one optimizer step whose weights are shared by real processes, beside torch.optim.Muon's.

    python benchmarks/sharded_step.py             # a few minutes on two cores; benchmarks/results/sharded_step.json is written
    python benchmarks/sharded_step.py --layers 4  # more layers of gpt2-small in the counts

Each number of processes is a run of its own under torchrun (gloo, one thread each). Counts are of one step: what
torch.distributed is asked for, the products of the LMOs by the plain form, state, and temporaries under the profiler.
Times of one and of two processes are taken in turn in the same two processes: in the turns of one, the other waits.
"""

import argparse
import gc
import json
import math
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final
from unittest.mock import patch

import torch
import torch.distributed as dist
from parallel_cost import FLOPS_PER_MULTIPLICATION, LIMITS, ddp, fsdp
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor import zeros as distributed_zeros
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from steadydecay import ScionC
from steadydecay.bench.machine import Circumstances, circumstances
from steadydecay.bench.memory import allocations
from steadydecay.bench.result_table import three_digits
from steadydecay.bench.shape_sets import SHAPE_SETS, Entry
from steadydecay.bench.timing import seconds
from steadydecay.bench.work import plain_work
from steadydecay.norms.spectral import Spectral
from steadydecay.parallel.cost import StepCost, on_one_rank, step_cost

RESULT = Path(__file__).parent / "results" / "sharded_step.json"
CPU = torch.device("cpu")
COUNTED_SET = "gpt2-small"
COUNTED_RANKS = (2, 4, 8)
# By shape set, how many layers: the whole of gpt-mini, as much of gpt2-small as leaves room for others.
TIMED = {"gpt-mini": 6, "gpt2-small": 2}
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


@final
@dataclass(frozen=True)
class Timing:
    """Seconds of a step by repetition, of one process and of two, in turn.

    Args:
        shape_set, layers, optimizer: what steps.
        times: by strategy; "one process" beside those of two.
    """

    shape_set: str
    layers: int
    optimizer: str
    times: dict[str, list[float]]


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """What the benchmark found."""

    counts: list[Count]
    timings: list[Timing]


# --- What steps -------------------------------------------------------------------------------------------------------


class Weights(NamedTuple):
    """Of a shape set, each with a random gradient."""

    entries: Sequence[Entry]
    tensors: list[Any]

    def of(self, *roles: str) -> list[Any]:
        return [weight for entry, weight in zip(self.entries, self.tensors, strict=True) if entry.role in roles]


def weights_of(entries: Sequence[Entry], mesh: DeviceMesh | None) -> Weights:
    """Plain weights, the same on every rank, or DTensors cut by rows over a mesh."""
    torch.manual_seed(0)
    tensors = [nn.Parameter(_zeros(shape, mesh)) for _, shape, _ in entries]
    for weight in tensors:
        weight.grad = torch.randn_like(weight)
    return Weights(entries, tensors)


def _zeros(shape: tuple[int, ...], mesh: DeviceMesh | None) -> Tensor:
    return torch.zeros(shape) if mesh is None else distributed_zeros(shape, device_mesh=mesh, placements=[Shard(0)])


def scionc(weights: Weights, group: Any) -> list[Optimizer]:
    norms = {"hidden": "spectral", "vector": "bias", "embedding": "sign", "output": "sign"}
    groups = [{"params": weights.of(role), "norm": norm} for role, norm in norms.items() if weights.of(role)]
    return [ScionC(groups, 0.01, weight_decay=0.1, data_parallel_group=group)]


def muon(weights: Weights, group: Any) -> list[Optimizer]:
    rest = weights.of("vector", "embedding", "output")
    return [torch.optim.Muon(weights.of("hidden"), 0.01), torch.optim.AdamW(rest, 0.01)]


OPTIMIZERS: dict[str, Callable[[Weights, Any], list[Optimizer]]] = {"ScionC": scionc, "torch.optim.Muon": muon}
STRATEGIES = ("DDP", "FSDP2")


def built(name: str, strategy: str, entries: Sequence[Entry]) -> list[Optimizer]:
    """Under FSDP2 weights are cut by rows as `fully_shard` cuts them; under DDP gradients are the same on every rank."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),)) if strategy == "FSDP2" else None
    return OPTIMIZERS[name](weights_of(entries, mesh), dist.group.WORLD if strategy == "DDP" else None)


def stepped(optimizers: Sequence[Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.step()


# --- Counting ---------------------------------------------------------------------------------------------------------


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


# --- Timing -----------------------------------------------------------------------------------------------------------


def timing(shape_set: str, layers: int, name: str, repetitions: int) -> Timing:
    """One process steps the whole model, then both share it; nothing else differs."""
    entries = SHAPE_SETS[shape_set].entries(layers)
    shared = {strategy: built(name, strategy, entries) for strategy in STRATEGIES}
    alone = OPTIMIZERS[name](weights_of(entries, None), None) if dist.get_rank() == 0 else []
    turns = {"one process": alone, **{f"two, {strategy}": of for strategy, of in shared.items()}}
    times: dict[str, list[float]] = {turn: [] for turn in turns}
    for repetition in range(repetitions + 1):
        for turn, optimizers in turns.items():
            dist.barrier()
            taken = seconds(lambda optimizers=optimizers: _until_all(optimizers), CPU)
            if repetition > 0:
                times[turn].append(taken)
    return Timing(shape_set, layers, name, times)


def _until_all(optimizers: Sequence[Optimizer]) -> None:
    stepped(optimizers)
    dist.barrier()


# --- Processes --------------------------------------------------------------------------------------------------------


def work(options: argparse.Namespace) -> None:
    """One process under torchrun: counts, or times."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found: dict[str, Any] = {"counts": [], "timings": []}
    for name in OPTIMIZERS:
        if options.worker == "times":
            for shape_set, layers in TIMED.items():
                found["timings"].append(asdict(timing(shape_set, layers, name, options.repetitions)))
                gc.collect()
            continue
        for strategy in STRATEGIES:
            entries = SHAPE_SETS[COUNTED_SET].entries(options.layers)
            found["counts"].append(asdict(count(name, strategy, entries, options.layers)))
            gc.collect()
    if dist.get_rank() == 0:
        Path(options.out).write_text(json.dumps(found), encoding="utf-8")
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def launched(ranks: int, worker: str, options: argparse.Namespace) -> dict[str, Any]:
    """What such processes write."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        own = [__file__, "--worker", worker, "--out", str(out), "--layers", str(options.layers)]
        subprocess.run([*launcher, *own, "--repetitions", str(options.repetitions)], check=True)
        return json.loads(out.read_text(encoding="utf-8"))


def read_result(path: Path = RESULT) -> Result | None:
    """The committed result, if there is one."""
    if not path.exists():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    counts = [Count(**one) for one in fields["counts"]]
    return Result(**{**fields, "counts": counts, "timings": [Timing(**one) for one in fields["timings"]]})


# --- Tables -----------------------------------------------------------------------------------------------------------


def paper(count: Count, layers: int) -> StepCost:
    """What the formulas say of ScionC on this machine's kind of device."""
    strategy = {"DDP": ddp, "FSDP2": fsdp}[count.strategy]
    weights = [strategy(entry, count.ranks) for entry in SHAPE_SETS[COUNTED_SET].entries(layers)]
    return step_cost(weights, LIMITS, CPU)


def counts_table(counts: Sequence[Count]) -> str:
    """All layers of the model: of ScionC by the formulas, of Muon, which steps matrices one by one, in proportion."""
    lines = [
        "| processes | strategy | optimizer | LMO FLOPs ÷ even | momentum ÷ even | received, MB | all-to-alls | "
        "buckets | other collectives | `full_tensor` | temporaries, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_scionc_line(one) if one.optimizer == "ScionC" else _muon_line(one) for one in counts])


def _scionc_line(one: Count) -> str:
    layers = SHAPE_SETS[COUNTED_SET].layers
    cost = paper(one, layers)
    strategy = {"DDP": ddp, "FSDP2": fsdp}[one.strategy]
    whole = on_one_rank([strategy(entry, one.ranks) for entry in SHAPE_SETS[COUNTED_SET].entries()], CPU)
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
        (str(round(one.all_to_alls * scale)), "–", str(round(one.other_collectives * scale)), str(one.full_tensors)),
        max(one.peak_bytes),
    )


def _cells(one: Count, flops: float, momentum: float, received: float, calls: Sequence[str], peak: float) -> str:
    measured = [f"{flops:.2f}", f"{momentum:.2f}", _megabytes(received), *calls, _megabytes(peak)]
    return f"| {' | '.join([str(one.ranks), one.strategy, one.optimizer, *measured])} |"


def times_table(timings: Sequence[Timing]) -> str:
    turns = list(timings[0].times)
    lines = [
        f"| model | layers | optimizer | {', ms | '.join(turns)}, ms | {' | '.join(f'{t} ÷ one' for t in turns[1:])} |",
        f"|---|---|---|{'---|' * (2 * len(turns) - 1)}",
    ]
    for one in timings:
        alone = one.times[turns[0]]
        milliseconds = [three_digits(1000 * statistics.median(one.times[turn])) for turn in turns]
        ratios = [
            f"{statistics.median(own / whole for own, whole in zip(one.times[turn], alone, strict=True)):.2f}"
            for turn in turns[1:]
        ]
        cells = [one.shape_set, str(one.layers), one.optimizer, *milliseconds, *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=1, help="of gpt2-small, in the counts")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(COUNTED_RANKS))
    parser.add_argument("--repetitions", type=int, default=7, help="of the timed steps")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--worker", choices=("counts", "times"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    runs = [launched(ranks, "counts", options) for ranks in options.ranks]
    counts = [Count(**one) for run in runs for one in run["counts"]]
    timings = [Timing(**one) for one in launched(2, "times", options)["timings"]]
    command = shlex.join(["python", "benchmarks/sharded_step.py", *sys.argv[1:]])
    result = Result(counts=counts, timings=timings, missing={}, **circumstances(command, CPU, ["steadydecay", "torch"]))
    options.out.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(counts_table(counts), times_table(timings), *faults(counts), sep="\n\n")


if __name__ == "__main__":
    main()
