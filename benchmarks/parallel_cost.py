"""Print what a step of ScionC costs each GPU, from 8 to 4096 of them, computed, not measured.

    python benchmarks/parallel_cost.py                                  # the tables of docs/scaling.md
    python benchmarks/parallel_cost.py --tokens 4096 --between 25       # another cluster
    python benchmarks/parallel_cost.py --models llama-8b --gpus 16 32

The formulas are those of steadydecay.optim.batches.step_cost, which tests hold against counted collectives.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, final

import torch

from steadydecay.bench.large_shape_sets import COSTED_MODELS, CostedModel
from steadydecay.bench.shape_sets import Entry
from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.norms import norm_for
from steadydecay.optim.batches.alike_parts import LARGEST_CPU_CHUNK
from steadydecay.optim.batches.laid_out import LaidOutWeight
from steadydecay.optim.batches.owner_plan import BYTES_OF_A_RANK
from steadydecay.optim.batches.step_cost import Limits, StepCost, on_one_rank, step_cost
from steadydecay.parallel import strategies
from steadydecay.parallel.owners import owners_of

GPU = torch.device("cuda")
LIMITS = Limits(BYTES_OF_A_RANK, LARGEST_CPU_CHUNK)
FLOPS_PER_MULTIPLICATION = 2
# Of the backward pass, for each parameter and token: two products, each a multiplication and an addition.
BACKWARD_FLOPS = 4
ROWS = ("q", "k", "v", "gate", "up", "tokens", "output")
COLUMNS = ("o", "down")
GROUP_OF_EIGHT = 8
SMALLEST_TENSOR_PARALLEL_WIDTH = 2048


@final
@dataclass(frozen=True)
class Cluster:
    """What is assumed of GPUs and network.

    Args:
        flops: that a GPU reaches in products in half precision, per second.
        between, within: bytes that a GPU receives per second from other nodes, and inside its own.
        node: GPUs of a node.
        memory: bytes of a GPU.
        tokens: of a GPU in a step.
    """

    flops: float = 400e12
    between: float = 50e9
    within: float = 450e9
    node: int = 8
    memory: float = 80e9
    tokens: int = 8192

    def seconds_of(self, received: float, ranks: int) -> float:
        """Of bytes that come from all ranks alike: the slower of the two ways, which are used at one time."""
        from_outside = max(0, ranks - self.node) / max(1, ranks - 1)
        return max(received * from_outside / self.between, received * (1 - from_outside) / self.within)


def ddp(entry: Entry, ranks: int) -> LaidOutWeight:
    if len(entry.shape) == 1:
        return _weight(entry, (ranks,), strategies.plain())
    return _weight(entry, (ranks,), strategies.rows_of_replicas(len(entry.shape)), is_replica=True)


def fsdp(entry: Entry, ranks: int) -> LaidOutWeight:
    return _weight(entry, (ranks,), strategies.fsdp())


def hsdp(entry: Entry, ranks: int) -> LaidOutWeight:
    return _weight(entry, (ranks // GROUP_OF_EIGHT, GROUP_OF_EIGHT), strategies.hsdp())


def fsdp_of_tensor_parallel(entry: Entry, ranks: int) -> LaidOutWeight:
    name = entry.name.rsplit(".", 1)[-1]
    cut: strategies.TensorCut = "rows" if name in ROWS else "columns" if name in COLUMNS else None
    mesh = (ranks // GROUP_OF_EIGHT, GROUP_OF_EIGHT)
    return _weight(entry, mesh, strategies.fsdp_of_tensor_parallel(cut, GROUP_OF_EIGHT))


def fsdp_of_experts(entry: Entry, ranks: int) -> LaidOutWeight:
    if len(entry.shape) != 3:
        return fsdp(entry, ranks)
    mesh = (ranks // GROUP_OF_EIGHT, GROUP_OF_EIGHT)
    return _weight(entry, mesh, strategies.fsdp_of_experts(entry.shape[0], *mesh))


STRATEGIES: dict[str, Callable[[Entry, int], LaidOutWeight]] = {
    "DDP": ddp,
    "FSDP2": fsdp,
    "HSDP, 8 shards": hsdp,
    "TP 8 + FSDP2": fsdp_of_tensor_parallel,
    "EP 8 + FSDP2": fsdp_of_experts,
}


def _weight(
    entry: Entry, mesh: tuple[int, ...], placements: strategies.Placements, is_replica: bool = False
) -> LaidOutWeight:
    # A stack of experts has a dimension more than a matrix, of which "auto" would have to guess.
    spec = "spectral" if entry.role == "hidden" else NORM_OF_ROLE[entry.role]
    return LaidOutWeight(entry.shape, norm_for(spec, len(entry.shape)), mesh, placements, is_replica)


class Row(NamedTuple):
    """One strategy on one number of GPUs, of the busiest of them."""

    strategy: str
    ranks: int
    cost: StepCost
    held_bytes: int
    even_multiplications: float

    @property
    def moved(self) -> int:
        """Bytes that the busiest GPU sends or receives, the larger of both."""
        return max(max(self.cost.received_bytes), max(self.cost.sent_bytes))

    @property
    def flops(self) -> float:
        return FLOPS_PER_MULTIPLICATION * max(self.cost.multiplications)

    @property
    def imbalance(self) -> float:
        return max(self.cost.multiplications) / self.even_multiplications


@cache
def row(model: CostedModel, strategy: str, ranks: int) -> Row:
    weights = [STRATEGIES[strategy](entry, ranks) for entry in model.shapes.entries()]
    cost = step_cost(weights, LIMITS, GPU)
    whole = on_one_rank(weights, GPU)
    # Weights and gradients beside the state; replicas hold both whole.
    weights_here = whole.state_bytes[0] if strategy == "DDP" else max(cost.state_bytes)
    return Row(strategy, ranks, cost, 2 * weights_here + max(cost.state_bytes), whole.multiplications[0] / ranks)


def fits(model: CostedModel, strategy: str) -> bool:
    """Whether the strategy is for such a model: experts for those that have them, tensor parallelism for large ones."""
    if strategy.startswith("EP"):
        return model.share_of_experts < 1
    return not strategy.startswith("TP") or (model.shapes.block[0].shape[1] >= 2048 and model.share_of_experts == 1)


def table_of(name: str, ranks: Sequence[int], cluster: Cluster) -> str:
    model = COSTED_MODELS[name]
    found = [row(model, strategy, n) for strategy in STRATEGIES if fits(model, strategy) for n in ranks]
    backward = BACKWARD_FLOPS * model.active_parameters() * cluster.tokens / cluster.flops
    parameters = sum(math.prod(shape) for _, shape, _ in model.shapes.entries())
    return "\n".join(
        [
            f"#### {name}",
            "",
            f"{parameters / 1e9:.3g} billion parameters, {model.active_parameters() / 1e9:.3g} billion of them for a "
            f"token; the backward pass of {cluster.tokens:,} tokens takes {1e3 * backward:.3g} ms.",
            "",
            "| strategy | GPUs | held, GB | state, GB | temporaries, GB | moved, GB | buckets | LMO, TFLOP | "
            "÷ even | LMO, ms | exchange, ms | hidden from, tokens |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *(_line(one, model, cluster) for one in found),
            "",
        ]
    )


def _line(one: Row, model: CostedModel, cluster: Cluster) -> str:
    exchange = cluster.seconds_of(one.moved, one.ranks)
    tokens = exchange * cluster.flops / (BACKWARD_FLOPS * model.active_parameters())
    cells = [
        one.strategy,
        str(one.ranks),
        _digits(one.held_bytes / 1e9) + (" (too much)" if one.held_bytes > cluster.memory else ""),
        _digits(max(one.cost.state_bytes) / 1e9),
        _digits(max(one.cost.temporary_bytes) / 1e9),
        _digits(one.moved / 1e9),
        str(max(one.cost.buckets)),
        _digits(one.flops / 1e12),
        f"{one.imbalance:.2f}",
        _digits(1e3 * one.flops / cluster.flops),
        _digits(1e3 * exchange),
        f"{math.ceil(tokens):,}",
    ]
    return f"| {' | '.join(cells)} |"


class Scheme(NamedTuple):
    """What a published scheme adds to a step of the hidden matrices, beyond what its strategy moves anyway.

    Attributes:
        received: bytes, of the rank with the most.
        multiplications: of the rank with the most, in the same five steps.
        momentum: bytes that a rank keeps of it.
    """

    received: float
    multiplications: int
    momentum: float


class Matrices(NamedTuple):
    """The hidden matrices of a model: how many there are of each shape, and what one of them costs."""

    numbers: dict[tuple[int, int], int]
    costs: dict[tuple[int, int], int]

    @property
    def entries(self) -> int:
        return sum(number * math.prod(shape) for shape, number in self.numbers.items())

    @property
    def multiplications(self) -> int:
        return sum(number * self.costs[shape] for shape, number in self.numbers.items())


def matrices_of(model: CostedModel) -> Matrices:
    numbers: Counter[tuple[int, int]] = Counter()
    for _, shape, role in model.shapes.entries():
        if role == "hidden":
            numbers[shape[-2], shape[-1]] += math.prod(shape[:-2])
    costs = {
        shape: norm_for("spectral", 2).lmo_cost(torch.empty(shape, device="meta")).multiplications  # pyright: ignore
        for shape in numbers
    }
    return Matrices(dict(numbers), costs)


def busiest(of: Matrices, ranks: int) -> tuple[int, int]:
    """Multiplications and entries of the rank with the most of them, if the longest are dealt first."""
    each = sorted(((of.costs[shape], math.prod(shape)) for shape, n in of.numbers.items() for _ in range(n)))[::-1]
    loads: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for (cost, entries), owner in zip(each, owners_of([cost for cost, _ in each], ranks), strict=True):
        loads[owner][0] += cost
        loads[owner][1] += entries
    return max(cost for cost, _ in loads.values()), max(entries for _, entries in loads.values())


def torchtitan(of: Matrices, ranks: int) -> Scheme:
    """DistributedMuon: to the owner and back in the dtype of the stored weights, float32."""
    multiplications, owned = busiest(of, ranks)
    return Scheme(_there_and_back(of, ranks, owned, 4, 4), multiplications, 4 * of.entries / ranks)


def half_there_and_back(of: Matrices, ranks: int) -> Scheme:
    """The same owners, with bfloat16 on both ways: what would be gained."""
    multiplications, owned = busiest(of, ranks)
    return Scheme(_there_and_back(of, ranks, owned, 2, 2), multiplications, 4 * of.entries / ranks)


def dion(of: Matrices, ranks: int) -> Scheme:
    """Muon of the dion package: as many matrices of one shape as ranks at a time, filled up, in bfloat16 both ways."""
    rounds = {shape: math.ceil(number / ranks) for shape, number in of.numbers.items()}
    owned = sum(number * math.prod(shape) for shape, number in rounds.items())
    multiplications = sum(number * of.costs[shape] for shape, number in rounds.items())
    return Scheme(2 * 2 * owned * (ranks - 1) / ranks, multiplications, 4 * of.entries / ranks)


def canzona(of: Matrices, ranks: int) -> Scheme:
    """Gradients are reduced to whole matrices at their owners in the first place, and weights gathered from there."""
    multiplications, owned = busiest(of, ranks)
    return Scheme(0, multiplications, 4 * owned)


def layer_wise(of: Matrices, ranks: int) -> Scheme:
    """Megatron's: gradients are all-reduced where others reduce-scatter them; weights are gathered as elsewhere."""
    multiplications, owned = busiest(of, ranks)
    return Scheme(4 * of.entries * (ranks - 1) / ranks, multiplications, 4 * owned)


def whole_gathers(of: Matrices, ranks: int) -> Scheme:
    """Every rank gathers every matrix in bfloat16 and orthogonalises it."""
    return Scheme(2 * of.entries * (ranks - 1) / ranks, of.multiplications, 4 * of.entries / ranks)


def ours(of: Matrices, ranks: int) -> Scheme:
    """By `step_cost`, of the hidden matrices alone under FSDP2."""
    entries = [Entry("", shape, "hidden") for shape, number in of.numbers.items() for _ in range(number)]
    cost = step_cost([fsdp(entry, ranks) for entry in entries], LIMITS, GPU)
    return Scheme(max(cost.received_bytes), max(cost.multiplications), max(cost.state_bytes))


def _there_and_back(of: Matrices, ranks: int, owned: int, there: int, back: int) -> float:
    return owned * (ranks - 1) / ranks * there + (of.entries - owned) / ranks * back


SCHEMES: dict[str, Callable[[Matrices, int], Scheme]] = {
    "ScionC": ours,
    "torchtitan DistributedMuon": torchtitan,
    "Muon of the dion package": dion,
    "Canzona, data parallel": canzona,
    "Megatron layer-wise": layer_wise,
    "owners, bfloat16 both ways": half_there_and_back,
    "whole gathers": whole_gathers,
}


def schemes_table(names: Sequence[str], ranks: Sequence[int], cluster: Cluster) -> str:
    lines = []
    for name in names:
        of = matrices_of(COSTED_MODELS[name])
        for n in ranks:
            for scheme, formula in SCHEMES.items():
                found = formula(of, n)
                lmo = FLOPS_PER_MULTIPLICATION * found.multiplications
                cells = [
                    name,
                    str(n),
                    scheme,
                    _digits(found.received / 1e9),
                    _digits(found.momentum / 1e9),
                    _digits(lmo / 1e12),
                    _digits(1e3 * lmo / cluster.flops),
                    _digits(1e3 * cluster.seconds_of(found.received, n)),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            "| model | GPUs | scheme | received, GB | momentum, GB | LMO, TFLOP | LMO, ms | exchange, ms |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


def _digits(number: float) -> str:
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"


def tables(names: Sequence[str], ranks: Sequence[int], cluster: Cluster) -> Iterator[str]:
    for name in names:
        yield table_of(name, ranks, cluster)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Cluster()
    parser.add_argument("--models", nargs="+", choices=COSTED_MODELS, default=list(COSTED_MODELS))
    parser.add_argument("--gpus", nargs="+", type=int, default=list(GPUS), help="multiples of 8")
    parser.add_argument("--tflops", type=float, default=usual.flops / 1e12, help="that a GPU reaches in its products")
    parser.add_argument("--between", type=float, default=usual.between / 1e9, help="GB/s of a GPU from other nodes")
    parser.add_argument("--within", type=float, default=usual.within / 1e9, help="GB/s of a GPU inside its node")
    parser.add_argument("--memory", type=float, default=usual.memory / 1e9, help="GB of a GPU")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="of a GPU in a step")
    options = parser.parse_args()
    wrong = [n for n in options.gpus if n < GROUP_OF_EIGHT or n % GROUP_OF_EIGHT]
    if wrong:
        parser.error(f"--gpus is {wrong}; legal are multiples of {GROUP_OF_EIGHT}, the GPUs of a node")
    return options


GPUS = (8, 64, 512, 4096)
SCHEME_MODELS, SCHEME_GPUS = ("gpt2-small", "llama-8b", "llama-70b", "qwen3-30b-a3b"), (64, 512)


def main() -> None:
    options = arguments()
    cluster = Cluster(
        options.tflops * 1e12,
        options.between * 1e9,
        options.within * 1e9,
        memory=options.memory * 1e9,
        tokens=options.tokens,
    )
    for table in tables(options.models, options.gpus, cluster):
        print(table)
    print(schemes_table(options.models, options.gpus, cluster))


if __name__ == "__main__":
    main()
