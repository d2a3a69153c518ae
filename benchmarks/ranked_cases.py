"""What benchmarks/steps_on_ranks.py steps on several ranks and on one: lists of adversarial shapes, and a small GPT."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import steadydecay as sd
from steadydecay.recipes.gpt.model import TransformerBlock, normalized

STEPS = 20
Groups = list[dict[str, Any]]
Layout = Callable[[Tensor], Tensor]
Build = Callable[[Groups, Any], Optimizer]

# On 8 ranks: even shards, uneven ones, empty ones, a fused weight, a stack that is stored transposed, a kernel.
SHAPES: list[tuple[Any, list[tuple[int, ...]]]] = [
    ("spectral", [(64, 24), (24, 64), (16, 8), (33, 17), (9, 40), (3, 8), (40, 3)]),
    ({"name": "spectral", "split_sizes": [16, 16, 16]}, [(48, 16)]),
    ({"name": "spectral", "transposed": True}, [(3, 10, 6)]),
    ("spectral_conv", [(6, 5, 3, 3)]),
    ("sign", [(1, 7), (7, 1), (11, 6)]),
    ("row_norm", [(9, 5)]),
    ("col_norm", [(5, 5)]),
    ("bias", [(33,)]),
]
# Fewer matrices than 2, 4 or 8 ranks.
FEW: list[tuple[Any, list[tuple[int, ...]]]] = [("spectral", [(8, 8)]), ("sign", [(8, 8)])]
EXPERTS: list[tuple[Any, list[tuple[int, ...]]]] = [("spectral", [(6, 20, 12), (1, 8, 8)])]


def scion(**options: Any) -> Build:
    return lambda groups, group: sd.ScionC(groups, 0.05, weight_decay=0.5, data_parallel_group=group, **options)


def of_every_norm(build: Callable[..., Optimizer], *momenta: Any) -> Build:
    """An optimizer that asks for no norm."""
    return lambda groups, _: build([{"params": group["params"]} for group in groups], 0.05, *momenta, weight_decay=0.5)


class Case(NamedTuple):
    """An optimizer and the weights that it steps.

    Attributes:
        build: it.
        dtype: of the weights.
        shapes: of them, by norm.
        is_elementwise: whether no update needs more than its own entry of anything, whatever the norm.
    """

    build: Build
    dtype: torch.dtype = torch.float32
    shapes: Sequence[tuple[Any, list[tuple[int, ...]]]] = SHAPES
    is_elementwise: bool = False


CASES: dict[str, Case] = {
    "corrected": Case(scion()),
    "constant": Case(scion(decay="constant")),
    "exact": Case(scion(decay="exact")),
    "Nesterov": Case(scion(nesterov=True)),
    "memory_light": Case(scion(memory_light=True)),
    "float64": Case(scion(), torch.float64),
    "compensated": Case(scion(low_precision="compensated"), torch.bfloat16),
    "stochastic": Case(scion(low_precision="stochastic"), torch.bfloat16),
    "none": Case(scion(low_precision="none"), torch.bfloat16),
    "one matrix": Case(scion(), shapes=FEW),
    "Lion": Case(of_every_norm(sd.Lion), is_elementwise=True),
    "SGDW": Case(of_every_norm(sd.SGDW, 0.9), is_elementwise=True),
    "AdamC": Case(of_every_norm(sd.AdamC), is_elementwise=True),
}
# Enough to see every path of the step on every rank in a few seconds.
FEW_CASES = ("corrected", "one matrix")
FEW_LAYOUTS = ("DDP", "rows", "HSDP", "experts and rows")
FEW_STRATEGIES = ("TP and FSDP2",)


def layouts() -> dict[str, Layout | None]:
    """By name; None is plain weights, which ranks share as under DistributedDataParallel."""
    ranks = dist.get_world_size()
    line, grid = init_device_mesh("cpu", (ranks,)), init_device_mesh("cpu", (min(2, ranks), max(1, ranks // 2)))
    return {
        "DDP": None,
        "rows": laid_out(line, 0),
        "columns": laid_out(line, -1),
        "HSDP": laid_out(grid, None, 0),
        "rows and columns": laid_out(grid, 0, -1),
    }


def expert_layouts() -> dict[str, Layout | None]:
    ranks = dist.get_world_size()
    line, grid = init_device_mesh("cpu", (ranks,)), init_device_mesh("cpu", (min(2, ranks), max(1, ranks // 2)))
    return {"experts": laid_out(line, 0), "experts and rows": laid_out(grid, 1, 0)}


def laid_out(mesh: DeviceMesh, *dims: int | None) -> Layout:
    """Cut along these dimensions of a tensor; every rank has the same tensor already, so that nothing is sent."""
    return lambda tensor: distribute_tensor(
        tensor,
        mesh,
        [Replicate() if dim is None else Shard(dim % tensor.ndim) for dim in dims],
        src_data_rank=None,
    )


def stepped(case: Case, layout: Layout, group: Any = None) -> list[Tensor]:
    """Weights after steps on noise under a cosine lr."""
    weights = [nn.Parameter(layout(tensor)) for tensor in _noise(0, case)]
    remaining = iter(weights)
    groups = [{"params": [next(remaining) for _ in shapes], "norm": norm} for norm, shapes in case.shapes]
    optimizer = case.build(groups, group)
    for step in range(STEPS):
        for of_group in optimizer.param_groups:
            of_group["lr"] = cosine_lr(step)
        optimizer.zero_grad()
        for weight, gradient in zip(weights, _noise(step + 1, case), strict=True):
            # memory_light keeps its average there.
            weight.grad = layout(gradient) if weight.grad is None else weight.grad + layout(gradient)
        optimizer.step()
    return [weight.detach() for weight in weights]


def cosine_lr(step: int) -> float:
    return 0.05 * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def _noise(seed: int, case: Case) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _, shapes in case.shapes:
        for shape in shapes:
            yield torch.randn(shape, generator=generator).to(case.dtype)


class SmallGPT(nn.Module):
    """The recipe's blocks in float64, whose loss the recipe takes in float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(37, 24)
        self.blocks = nn.ModuleList(TransformerBlock(2, 24) for _ in range(2))
        self.lm_head = nn.Linear(24, 37, bias=False)
        self.double()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens[:, :-1])
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.lm_head(normalized(x)).flatten(0, 1), tokens[:, 1:].flatten())


STRATEGIES = ("DDP", "FSDP2", "HSDP", "TP", "TP and FSDP2")


def trained_gpt(strategy: str | None) -> list[Tensor]:
    """Its weights after steps on the same batches on every rank; None is one process alone."""
    model = SmallGPT()
    # Under DDP the wrapper has to live as long as the optimizer looks for it.
    forward = model if strategy is None else _shared(model, strategy)
    optimizer = sd.ScionC(sd.param_groups(model, "scion", lr=0.05, weight_decay=0.5), 0.05)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step)
        tokens = torch.randint(0, 37, (4, 9), generator=torch.Generator().manual_seed(step))
        forward(tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    return [weight.detach() for weight in model.parameters()]


def _shared(model: SmallGPT, strategy: str) -> Callable[..., Tensor]:
    ranks = dist.get_world_size()
    if strategy == "DDP":
        return DistributedDataParallel(model)
    if strategy in ("FSDP2", "HSDP"):
        grid = (1, ranks) if strategy == "FSDP2" else (min(2, ranks), max(1, ranks // 2))
        mesh = init_device_mesh("cpu", grid, mesh_dim_names=("replicas", "shards"))
        mesh = mesh["shards"] if strategy == "FSDP2" else mesh
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return cast(Any, fully_shard(model, mesh=mesh))
    mesh = init_device_mesh("cpu", (max(1, ranks // 2), min(2, ranks)), mesh_dim_names=("data", "tensor"))
    plan: dict[str, ParallelStyle] = {"mlp.up": ColwiseParallel(), "mlp.down": RowwiseParallel()}
    for block in model.blocks:
        parallelize_module(block, mesh["tensor"], plan)
    return cast(Any, fully_shard(model, mesh=mesh["data"])) if strategy == "TP and FSDP2" else model


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def norms_of(case: Case) -> list[Any]:
    """Of each weight."""
    return [norm for norm, shapes in case.shapes for _ in shapes]
