"""Run on ranks: step weights that are cut in every way, and the same weights whole, and write how far they differ.

Arguments: where to write, and which of `SECTIONS` to run.
"""

import copy
import gc
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import steadydecay as sd
from steadydecay.parallel.cuts import cut_of
from steadydecay.parallel.regions import index_of

Groups = list[dict[str, Any]]
Layout = Callable[[Tensor], Tensor]
Differences = dict[str, float]

# Tall, wide, a single row, a single column, a fused weight, a vector, a stack stored transposed, a kernel, a weight
# large enough for bfloat16 products; most have fewer rows than ranks, or a number of rows that no rank count divides.
NORMED_SHAPES: list[tuple[Any, list[tuple[int, ...]]]] = [
    ("spectral", [(64, 33), (3, 40), (40, 3), (128, 130)]),
    ({"name": "spectral", "split_sizes": [64, 64, 64]}, [(192, 64)]),
    ("sign", [(1, 7), (7, 1), (11, 6)]),
    ("row_norm", [(9, 5)]),
    ("col_norm", [(5, 5)]),
    ("bias", [(33,)]),
    ({"name": "spectral", "transposed": True}, [(4, 20, 12)]),
    ("spectral_conv", [(6, 5, 3, 3)]),
]
SCIONS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "corrected": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5),
    "nesterov": lambda groups: sd.Scion(groups, 0.05, weight_decay=0.5, nesterov=True),
    "memory_light": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5, memory_light=True),
    "one at a time": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5, workspace_bytes=0),
}
ROUNDED: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    mode: lambda groups, mode=mode: sd.ScionC(groups, 0.05, weight_decay=0.5, low_precision=mode)
    for mode in ("compensated", "stochastic", "none")
}
OTHERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "lion": lambda groups: sd.Lion(groups, 0.05, weight_decay=0.5),
    "sgdw": lambda groups: sd.SGDW(groups, 0.05, 0.9, weight_decay=0.5),
}


# What they do of their own is the same in every layout.
FEWER_LAYOUTS = ("memory_light", "one at a time", "compensated in bfloat16", "none in bfloat16", "lion", "sgdw")
STEPS = 2


class Trained(NamedTuple):
    weights: list[nn.Parameter]
    optimizer: torch.optim.Optimizer


def laid_out(mesh: DeviceMesh, *placements: Any) -> Layout:
    """Every rank has the same tensor already, so that nothing is sent."""
    return lambda tensor: distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def layouts() -> dict[str, Layout]:
    ranks = dist.get_world_size()
    line = init_device_mesh("cpu", (ranks,))
    found: dict[str, Layout] = {
        "rows": laid_out(line, Shard(0)),
        "columns": lambda tensor: laid_out(line, Shard(tensor.ndim - 1))(tensor),
        "replicas": laid_out(line, Replicate()),
    }
    if ranks >= 4:
        square = init_device_mesh("cpu", (2, ranks // 2))
        found |= {
            "rows and columns": lambda tensor: laid_out(square, Shard(0), Shard(tensor.ndim - 1))(tensor),
            "rows of rows": laid_out(square, Shard(0), Shard(0)),
            "replicas of rows": laid_out(square, Replicate(), Shard(0)),
            "columns of replicas": lambda tensor: laid_out(square, Shard(tensor.ndim - 1), Replicate())(tensor),
        }
    return found


def tensors(seed: int, dtype: torch.dtype) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _, shapes in NORMED_SHAPES:
        for shape in shapes:
            yield torch.randn(shape, generator=generator).to(dtype)


def groups_of(weights: list[nn.Parameter]) -> Groups:
    remaining = iter(weights)
    return [{"params": [next(remaining) for _ in shapes], "norm": norm} for norm, shapes in NORMED_SHAPES]


def stepped(
    layout: Layout,
    build: Callable[[Groups], torch.optim.Optimizer],
    dtype: torch.dtype = torch.float32,
    gradients: Callable[[int, int, Tensor], Tensor | None] = lambda step, index, gradient: gradient,
) -> Trained:
    """Weights after some steps on noise; `gradients` may exchange or leave out one of a step."""
    weights = [nn.Parameter(layout(tensor)) for tensor in tensors(0, dtype)]
    optimizer = build(groups_of(weights))
    for step in range(STEPS):
        for index, (weight, gradient) in enumerate(zip(weights, tensors(step + 1, dtype), strict=True)):
            weight.grad_dtype = None  # pyright: ignore[reportAttributeAccessIssue]
            given = gradients(step, index, gradient)
            weight.grad = None if given is None else layout(given)
        optimizer.step()
    return Trained(weights, optimizer)


def without_norms(build: Callable[[Groups], torch.optim.Optimizer]) -> Callable[[Groups], torch.optim.Optimizer]:
    return lambda groups: build([{"params": group["params"]} for group in groups])


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()


def difference(ones: Any, others: Any) -> float:
    """The largest Frobenius norm of a difference, relative to that of the weight."""
    pairs = ((whole(one).double(), whole(other).double()) for one, other in zip(ones, others, strict=True))
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def of_layouts() -> Differences:
    """Every norm, mode and optimizer in every layout."""
    found: Differences = {}
    cases = [(name, build, torch.float32) for name, build in SCIONS.items()]
    cases += [(f"{name} in bfloat16", build, torch.bfloat16) for name, build in ROUNDED.items()]
    cases += [(name, without_norms(build), torch.float32) for name, build in OTHERS.items()]
    for name, build, dtype in cases:
        alone = stepped(Tensor.clone, build, dtype).weights
        for where, layout in list(layouts().items())[:: 2 if name in FEWER_LAYOUTS else 1]:
            found[f"{name}, {where}"] = difference(stepped(layout, build, dtype).weights, alone)
    return found


def of_gradients() -> Differences:
    """Gradients in another dtype, and gradients that are missing: everywhere, or on one rank only."""
    rows = layouts()["rows"]

    def in_bfloat16(step: int, index: int, gradient: Tensor) -> Tensor:
        return gradient.bfloat16()

    def without_the_second(step: int, index: int, gradient: Tensor) -> Tensor | None:
        return None if index == 1 else gradient

    def alone(step: int, index: int, gradient: Tensor) -> Tensor:
        """What a gradient that rank 1 lacks means for a whole weight: zeros in its rows."""
        if index not in (0, 7) or step == 0:
            return gradient
        missing = rows(gradient.clone())
        assert isinstance(missing, DTensor)
        if dist.get_rank() == 1:
            missing.to_local().zero_()
        return missing.full_tensor()

    build = SCIONS["corrected"]
    pairs = {"bfloat16": (in_bfloat16, in_bfloat16), "none anywhere": (without_the_second, without_the_second)}
    found = {
        name: difference(
            stepped(rows, build, gradients=ours).weights, stepped(Tensor.clone, build, gradients=theirs).weights
        )
        for name, (ours, theirs) in pairs.items()
    }
    expected = stepped(Tensor.clone, build, gradients=alone).weights
    return found | {"none on one rank": difference(_with_absent(rows), expected)}


def _with_absent(rows: Layout) -> list[nn.Parameter]:
    weights = [nn.Parameter(rows(tensor)) for tensor in tensors(0, torch.float32)]
    optimizer = SCIONS["corrected"](groups_of(weights))
    for step in range(STEPS):
        for index, (weight, gradient) in enumerate(zip(weights, tensors(step + 1, torch.float32), strict=True)):
            weight.grad = rows(gradient)
            if dist.get_rank() == 1 and index in (0, 7) and step > 0:
                weight.grad = None
        optimizer.step()
    return weights


class SmallModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 36)
        self.up, self.down, self.out = nn.Linear(36, 64), nn.Linear(64, 52), nn.Linear(52, 4)
        self.stack = nn.Parameter(torch.randn(3, 52, 52) / 10)

    def forward(self, indices: Tensor) -> Tensor:
        inner = self.down(self.up(self.table(indices)).relu()).flatten(end_dim=-2)
        return self.out(inner + (inner @ self.stack).sum(0))


def scion_groups(model: nn.Module) -> Groups:
    stack = [parameter for parameter in model.parameters() if parameter.ndim == 3]
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "table" not in name]
    return [
        {"params": matrices, "norm": "spectral"},
        {"params": stack, "norm": "spectral"},
        {"params": [p for name, p in model.named_parameters() if "table" in name], "norm": "sign"},
        {"params": [parameter for parameter in model.parameters() if parameter.ndim == 1], "norm": "bias"},
    ]


def train(model: nn.Module, forward: Callable[..., Tensor], optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        forward(torch.randint(0, 11, (8, 3))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def wrapped(strategy: str, model: nn.Module) -> Callable[..., Tensor]:
    ranks = dist.get_world_size()
    if strategy == "ddp":
        return DistributedDataParallel(model)
    if strategy == "fsdp":
        return cast(Any, fully_shard(model))
    if strategy == "hsdp":
        return cast(Any, fully_shard(model, mesh=init_device_mesh("cpu", (2, ranks // 2), mesh_dim_names=("r", "s"))))
    mesh = init_device_mesh("cpu", (ranks // 2, 2), mesh_dim_names=("dp", "tp"))
    parallelize_module(model, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return cast(Any, fully_shard(model, mesh=mesh["dp"])) if strategy == "tp and fsdp" else model


def of_strategies() -> Differences:
    """A small model under each strategy, in float64; and that each rank's regions are what torch says they hold."""
    torch.set_default_dtype(torch.float64)
    found: Differences = {}
    alone = SmallModel()
    train(alone, alone, SCIONS["nesterov"](scion_groups(alone)), range(8))
    for strategy in ("ddp", "fsdp", "hsdp", "tp", "tp and fsdp"):
        model = SmallModel()
        forward = wrapped(strategy, model)
        train(model, forward, SCIONS["nesterov"](scion_groups(model)), range(8))
        found[strategy] = difference(model.parameters(), alone.parameters())
        found[f"regions, {strategy}"] = max(map(_region_error, model.parameters()))
    torch.set_default_dtype(torch.float32)
    return found


def _region_error(weight: Tensor) -> float:
    cut = cut_of(weight)
    if cut is None:
        return 0.0
    assert isinstance(weight, DTensor)
    expected, local = weight.full_tensor()[index_of(cut.own_region())], weight.to_local()
    assert local.shape == expected.shape
    return float((local - expected).abs().sum())


def of_experts() -> Differences:
    """A stack of experts, cut over an expert mesh, beside replicas and shards of each expert."""
    square = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("dp", "ep"))
    placements = {
        "each rank its experts": (square["ep"], [Shard(0)]),
        "and replicas": (square, [Replicate(), Shard(0)]),
        "and rows of each": (square, [Shard(1), Shard(0)]),
    }
    found: Differences = {}
    # One expert leaves ranks without any.
    for count in (6, 1):
        alone = _experts(count, Tensor.clone)
        for name, (mesh, where) in placements.items():
            found[f"{count}, {name}"] = difference(_experts(count, laid_out(mesh, *where)), alone)
    return found


def _experts(count: int, layout: Layout) -> list[nn.Parameter]:
    def drawn(seed: int) -> Tensor:
        return layout(torch.randn(count, 20, 12, generator=torch.Generator().manual_seed(seed)))

    parameter = nn.Parameter(drawn(0))
    optimizer = sd.ScionC([{"params": [parameter], "norm": "spectral"}], 0.05, weight_decay=0.5)
    for step in range(3):
        parameter.grad = drawn(step + 1)
        optimizer.step()
    return [parameter]


def of_replicas() -> dict[str, Any]:
    """`DistributedDataParallel`: what is saved, and that the run continues from it, here and on one process."""
    alone, model = SmallModel(), SmallModel()
    forward = DistributedDataParallel(model)
    of_alone, of_model = (SCIONS["corrected"](scion_groups(one)) for one in (alone, model))
    train(alone, alone, of_alone, range(3))
    train(model, forward, of_model, range(3))
    held = sum(_local_entries(state["momentum"]) for state in of_model.state.values())
    everything = sum(state["momentum"].numel() for state in of_alone.state.values())
    try:
        torch.save(of_model.state_dict(), io.BytesIO())
        refusal = ""
    except ValueError as error:
        refusal = str(error)
    saved = _saved_by_rank_0(of_model)
    continued = SCIONS["corrected"](scion_groups(model))
    continued.load_state_dict(saved)
    continued_alone = SCIONS["corrected"](scion_groups(alone))
    continued_alone.load_state_dict(copy.deepcopy(saved))
    train(alone, alone, continued_alone, range(3, 6))
    train(model, forward, copy.deepcopy(continued), range(0))
    train(model, forward, continued, range(3, 6))
    given = SmallModel()
    by_hand = sd.ScionC(scion_groups(given), 0.05, weight_decay=0.5, data_parallel_group=dist.group.WORLD)
    train(given, given, by_hand, range(3))
    untouched = SmallModel()
    kept = sd.ScionC(scion_groups(untouched), 0.05, weight_decay=0.5, data_parallel_group=None)
    train(untouched, DistributedDataParallel(untouched), kept, range(3))
    return {
        "difference": difference(model.parameters(), alone.parameters()),
        "by hand": difference(given.parameters(), untouched.parameters()),
        "kept whole": not any(isinstance(state["momentum"], DTensor) for state in kept.state.values()),
        "share of the momentum": held / everything,
        "refusal": refusal,
        "alike on all ranks": _is_alike(model),
    }


def _saved_by_rank_0(optimizer: Any) -> dict[str, Any]:
    optimizer.consolidate_state_dict()
    state = optimizer.state_dict()
    content: list[Any] = [None]
    if dist.get_rank() == 0:
        file = io.BytesIO()
        torch.save(state, file)
        content = [file.getvalue()]
    dist.broadcast_object_list(content)
    return torch.load(io.BytesIO(content[0]), weights_only=True)


def _local_entries(tensor: Tensor) -> int:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).numel()


def _is_alike(model: nn.Module) -> bool:
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    everywhere = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(everywhere, flat)
    return all(torch.equal(flat, other) for other in everywhere)


def of_nonfinite() -> dict[str, Any]:
    """What each rank counts, and whether all is finite, where one rank's part of one gradient holds a NaN."""
    builds = {"scion": SCIONS["corrected"], **{name: without_norms(build) for name, build in OTHERS.items()}}
    builds["adamc"] = without_norms(lambda groups: sd.AdamC(groups, 0.05, weight_decay=0.5))
    return {name: _skipped(build) for name, build in builds.items()}


def _skipped(build: Callable[[Groups], torch.optim.Optimizer]) -> dict[str, Any]:
    rows = layouts()["rows"]
    weights = [nn.Parameter(rows(tensor)) for tensor in tensors(0, torch.float32)]
    optimizer = build(groups_of(weights))
    handle = sd.skip_nonfinite(optimizer)
    for weight, gradient in zip(weights, tensors(1, torch.float32), strict=True):
        weight.grad = rows(gradient)
    gradient = cast(Any, weights[0].grad)
    if dist.get_rank() == 1:
        gradient.to_local()[0, 0] = torch.nan
    optimizer.step()
    counts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(counts, handle.skipped)
    return {"counts": counts, "is_finite": all(bool(whole(weight).isfinite().all()) for weight in weights)}


def of_compiled() -> Differences:
    """Rank 0 compiles its step and the others do not; they exchange alike, and the weights are as uncompiled."""
    rows = layouts()["rows"]
    builds = {"scion": SCIONS["corrected"], "lion": without_norms(OTHERS["lion"])}
    builds["adamc"] = without_norms(lambda groups: sd.AdamC(groups, 0.05, weight_decay=0.5))

    def compiled(build: Callable[[Groups], torch.optim.Optimizer]) -> Callable[[Groups], torch.optim.Optimizer]:
        def built(groups: Groups) -> torch.optim.Optimizer:
            optimizer = build(groups)
            if dist.get_rank() == 0:
                cast(Any, optimizer).step = torch.compile(optimizer.step)
            return optimizer

        return built

    return {
        name: difference(stepped(rows, compiled(build)).weights, stepped(rows, build).weights)
        for name, build in builds.items()
    }


SECTIONS: dict[str, Callable[[], Any]] = {
    "layouts": of_layouts,
    "gradients": of_gradients,
    "strategies": of_strategies,
    "experts": of_experts,
    "replicas": of_replicas,
    "nonfinite": of_nonfinite,
    "compiled": of_compiled,
}


def main(out: Path, *sections: str) -> None:
    dist.init_process_group("gloo")
    found = {name: SECTIONS[name]() for name in sections}
    if dist.get_rank() == 0:
        out.write_text(json.dumps(found))
    # FSDP's reference cycles may outlive the process group, which then aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
