"""What each of several devices holds and computes, by the same functions that distribute the work of a step."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import Shard

from steadydecay.budgeting.counted_model import CountedModel, bytes_of
from steadydecay.budgeting.run_budget import DeviceShare
from steadydecay.norms import norm_for
from steadydecay.optim.batches.alike_parts import LARGEST_CPU_CHUNK
from steadydecay.optim.batches.laid_out import LaidOutWeight
from steadydecay.optim.batches.owner_plan import BYTES_OF_A_RANK
from steadydecay.optim.batches.step_cost import Limits, StepCost, on_one_rank, step_cost
from steadydecay.parallel import strategies
from steadydecay.recipes.strategy import Strategy, even_cut

GPU = torch.device("cuda")
LIMITS = Limits(BYTES_OF_A_RANK, LARGEST_CPU_CHUNK)


def device_share(counted: CountedModel, examples: int, devices: int, strategy: Strategy) -> DeviceShare:
    """Return the share of the busiest of `devices` devices.

    Args:
        counted: The model under its optimizer.
        examples: The examples of one backward pass over all devices, a multiple of `devices`.
        devices: The number of devices, ≥ 1.
        strategy: How they share the model.
    """
    is_cut = strategy == "fsdp" and devices > 1
    parameters = list(counted.model.parameters())
    held = sum(_held_bytes(one, devices if is_cut else 1) for one in parameters)
    trained = sum(_held_bytes(one, devices if is_cut else 1) for one in parameters if one.requires_grad)
    # DistributedDataParallel exchanges gradients in buckets in addition to them.
    copies = 2 if strategy == "ddp" and devices > 1 else 1
    cost = cost_of_step(counted, devices, strategy)
    activations = counted.activations
    return DeviceShare(
        devices=devices,
        weight_bytes=held,
        gradient_bytes=copies * trained,
        state_bytes=max(cost.state_bytes) + _elementwise_state_bytes(counted, devices if is_cut else 1),
        # A step on one device has no bucket limit, and Adam's temporaries are torch's own.
        temporary_bytes=max(cost.temporary_bytes) or None,
        activation_bytes=None if activations is None else activations.of_examples(examples / devices),
        multiplications=max(cost.multiplications),
    )


def cost_of_step(counted: CountedModel, devices: int, strategy: Strategy) -> StepCost:
    """Return the cost of updating weights whose updates have a norm; it is empty without them, as under Adam."""
    weights = [_laid_out(one, spec, devices, strategy) for one, spec in _with_norms(counted)]
    if not weights:
        return StepCost(*([0] * devices for _ in StepCost._fields))
    return on_one_rank(weights, GPU) if devices == 1 else step_cost(weights, LIMITS, GPU)


def state_bytes(counted: CountedModel) -> int:
    """Return the bytes of the optimizer's state, counting each parameter once."""
    return sum(map(counted.state_bytes_of, counted.model.parameters()))


def _with_norms(counted: CountedModel) -> Iterable[tuple[Tensor, object]]:
    groups = (group for group in counted.optimizer.param_groups if "norm" in group)
    return ((parameter, group["norm"]) for group in groups for parameter in group["params"])


def _elementwise_state_bytes(counted: CountedModel, cut_over: int) -> int:
    parameters = [one for group in counted.optimizer.param_groups if "norm" not in group for one in group["params"]]
    whole: Sequence[tuple[int, float]] = [
        (counted.state_bytes_of(one), _held_bytes(one, cut_over) / max(1, bytes_of(one))) for one in parameters
    ]
    return round(sum(size * share for size, share in whole))


def _laid_out(parameter: Tensor, spec: object, devices: int, strategy: Strategy) -> LaidOutWeight:
    shape = tuple(parameter.shape)
    norm = norm_for(spec, len(shape))  # pyright: ignore[reportArgumentType]
    if strategy == "fsdp":
        return LaidOutWeight(shape, norm, (devices,), (Shard(even_cut(shape, devices)),), dtype=parameter.dtype)
    if len(shape) == 1:
        return LaidOutWeight(shape, norm, (devices,), strategies.plain(), dtype=parameter.dtype)
    placements = strategies.rows_of_replicas(len(shape))
    return LaidOutWeight(shape, norm, (devices,), placements, is_replica=True, dtype=parameter.dtype)


def _held_bytes(parameter: Tensor, cut_over: int) -> int:
    """Return the bytes on the rank with the most rows."""
    shape = list(parameter.shape)
    if cut_over > 1 and shape:
        dim = even_cut(tuple(shape), cut_over)
        shape[dim] = math.ceil(shape[dim] / cut_over)
    return math.prod(shape) * parameter.element_size()
