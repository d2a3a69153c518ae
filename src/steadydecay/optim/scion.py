"""Scion and ScionC (arXiv 2502.07529; arXiv 2512.08217, Algorithm 2).

    m ← β m + (1-β) g
    θ ← (1-η) θ - γ lmo(m)          or lmo(β m + (1-β) g) with Nesterov momentum

η = γλ for Scion, η ∝ γ_eff² for ScionC: `steadydecay.theory.decay_rules`.
"""

# torch's foreach functions are not public.
# pyright: reportPrivateImportUsage=false

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import Shard
from torch.optim.optimizer import ParamsT

from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.update_momentum import AVERAGE
from steadydecay.norms import NormSpec, fewest_dimensions, norm_for, plain_spec
from steadydecay.optim.batches.alike_parts import require_workspace
from steadydecay.optim.batches.owner_batches import OwnerBatches
from steadydecay.optim.batches.parts import Advance, Number, PartsOfGroup, StepBatch
from steadydecay.optim.batches.shape_batches import in_shape_batches, lmo_of_each
from steadydecay.optim.decoupled_step import DecoupledOptimizer, average_, averages_of, move
from steadydecay.optim.legal_weights import REAL
from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.replicas import mesh_over, replica_groups
from steadydecay.tensors.low_precision import require_mode


class Scion(DecoupledOptimizer):
    """Steepest descent under a norm for each layer, with momentum and decoupled weight decay (arXiv 2502.07529).

    Constrained Scion with one learning rate γ₀ and a radius ρ for each layer is lr = γ₀ρ and weight_decay = 1/ρ (arXiv
    2512.08217, Sec. 2.1). weight_decay = 0 is unconstrained Scion.

    Args:
        params: Tensors, named tensors or groups, preferably from `param_groups`. Groups may set any argument below, and
            also reference_lr, reference_momentum (the values at which weight_decay was chosen, by default those at the
            peak), role and param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: The learning rate γ ≥ 0, which is the norm of the update. lr, momentum and weight_decay may be 0-d tensors.
        momentum: β in [0, 1) of the average of gradients, in PyTorch's convention (the paper's α is 1-β).
        nesterov: Whether the momentum looks ahead by one gradient.
        weight_decay: λ ≥ 0 at the reference, with λ · lr < 1.
        decay: The rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ) or "exact".
        steady_norm_sq: The desired E‖θ‖²/E‖u‖², above lr², to be given instead of weight_decay. `SteadyNorm` can change
            it; as a 0-d tensor it is filled in place.
        norm: "auto" (by role, or else by dimensions), a key of `steadydecay.norms.NORMS`, or a `Norm`.
        memory_light: Keep no state: the average is kept in `.grad`, where backward adds to it. This optimizer's
            `zero_grad` then does nothing, and you must not clear `.grad` in any other way. It cannot be combined with
            nesterov.
        low_precision: How bfloat16 and float16 weights keep what rounding would remove (docs/low_precision.md):
            "compensated" (two bytes of state for each weight), "stochastic" (no state, but noisier), "none", or "auto",
            which is "stochastic" with memory_light and "compensated" without. Other dtypes are not affected.
        workspace_bytes: The bytes for the temporaries of a step, beyond those of the largest weight alone. The default
            is 0.4 for each entry of a group. One thread of a CPU takes at most 10 MiB of it, to stay in its cache.
        data_parallel_group: The process group whose ranks hold the same plain weights and receive the same gradients.
            Each rank then keeps a part of the state and computes a part of the updates (docs/scaling.md). "auto" uses
            the group of `DistributedDataParallel`, unless Accelerate saves the state on one rank alone. None shares
            nothing. Weights that are DTensors (FSDP2, tensor parallelism) are always shared over their mesh.

    Raises:
        ValueError: An argument is outside its range, or two exclude each other. Nothing has changed.
    """

    update_momentum = AVERAGE
    # The norms are defined for real weights.
    steppable = REAL
    # Copies do not know their process group.
    _data_parallel_group: Any = "auto"
    _made_owner_batches: OwnerBatches | None = None

    def __init__(
        self,
        params: ParamsT,
        lr: Number,
        momentum: Number = 0.9,
        *,
        nesterov: bool = False,
        weight_decay: Number = 0.0,
        decay: str = "constant",
        steady_norm_sq: Number | None = None,
        norm: NormSpec = "auto",
        memory_light: bool = False,
        low_precision: str = "auto",
        workspace_bytes: int | None = None,
        data_parallel_group: Any = "auto",
    ) -> None:
        defaults: Group = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "decay": decay,
            "steady_norm_sq": steady_norm_sq,
            "norm": norm,
            "memory_light": memory_light,
            "low_precision": low_precision,
            "workspace_bytes": workspace_bytes,
        }
        # This is not a default of groups, because process groups cannot be saved with them.
        self._data_parallel_group = data_parallel_group
        super().__init__(params, defaults)

    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None:
        """Perform Algorithm 2 for weights of one shape, or for rows of one weight."""
        norm = norm_for(group["norm"], batch.weights[0].ndim)
        self.descend(batch, lmo_of_each(norm, self.directions(batch, group)), group, decay)

    def directions(self, batch: StepBatch, group: Group) -> Sequence[Tensor]:
        """Compute m ← βm + (1-β)g for each weight, and return m, or βm + (1-β)g with Nesterov momentum."""
        beta = group["momentum"]
        if not group["memory_light"]:
            average_(batch.averages, batch.gradients, beta)
        return averages_of(batch.averages, batch.gradients, beta) if group["nesterov"] else batch.averages

    def descend(self, batch: StepBatch, updates: Sequence[Tensor], group: Group, decay: Number) -> None:
        """Compute θ ← (1-η)θ - γu for each weight, where u is the LMO of its direction."""
        move(batch, updates, group["lr"], decay, rounding_step=group.get("rounding_step"))
        if group["memory_light"]:
            # The next backward pass adds g to them. They are m/(1-β), a scale that does not change an lmo.
            torch._foreach_mul_(batch.averages, group["momentum"])

    def in_batches(self, groups: Sequence[PartsOfGroup], advance: Advance) -> None:
        if not self.cuts:
            in_shape_batches(groups, advance)
            return
        in_shape_batches([of._replace(parts=[part for part in of.parts if part.cut is None]) for of in groups], advance)
        cut = [of._replace(parts=[part for part in of.parts if part.cut is not None]) for of in groups]
        self._owner_batches.step(cut, self)

    def cuts_now(self) -> Mapping[Tensor, Cut]:
        return {**super().cuts_now(), **self._shared_replicas()}

    def _shared_replicas(self) -> dict[Tensor, Cut]:
        """Return how to share matrices that every rank holds whole, so that each rank steps a part of them."""
        weights = [
            (weight, group)
            for group in self.param_groups
            for weight in ([] if group["memory_light"] else group["params"])
            if weight.ndim > 1 and type(weight) in (Tensor, torch.nn.Parameter)
        ]
        groups = replica_groups(self, [weight for weight, _ in weights], self._data_parallel_group)
        meshes = {group: mesh_over(group, weights[0][0].device.type) for group in dict.fromkeys(groups.values())}
        return {
            weight: Cut(tuple(weight.shape), meshes[groups[weight]], (Shard(_first_row(weight, group)),), weight)
            for weight, group in weights
            if weight in groups
        }

    def checked(self, group: Group) -> Group:
        group["norm"] = plain_spec(group["norm"])
        if group["norm"] == "auto":
            group["norm"] = NORM_OF_ROLE.get(group.get("role"), "auto")
        if group["low_precision"] == "auto":
            group["low_precision"] = "stochastic" if group["memory_light"] else "compensated"
        _check_group(group)
        return group

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, except those that hold the average (`memory_light`)."""
        for group in self.param_groups:
            for parameter in group["params"] if not group["memory_light"] else []:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.detach_().zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all parameters, including the averages that `memory_light` keeps in `.grad`."""
        with self._gradients_as_state():
            return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and deepcopy store, with those averages, because a copied parameter has no `.grad`."""
        with self._gradients_as_state():
            return {**super().__getstate__(), "state": self.state.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load what `__getstate__` returned or, through `load_state_dict`, what `state_dict` returned."""
        super().__setstate__(state)
        for parameter in self._memory_light_parameters():
            parameter.grad = self.state.pop(parameter, {}).get("momentum")

    @contextmanager
    def _gradients_as_state(self) -> Iterator[None]:
        for parameter in self._memory_light_parameters():
            if parameter.grad is not None:
                self.state[parameter]["momentum"] = parameter.grad
        try:
            yield
        finally:
            for parameter in self._memory_light_parameters():
                self.state.pop(parameter, None)

    @property
    def _owner_batches(self) -> OwnerBatches:
        if self._made_owner_batches is None:
            self._made_owner_batches = OwnerBatches(self.peers)
        return self._made_owner_batches

    def _memory_light_parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups if group["memory_light"] for p in group["params"]]


def _first_row(weight: Tensor, group: Group) -> int:
    """Return the dimension of the rows of each matrix in a stack."""
    of_one = max(2, fewest_dimensions(norm_for(group["norm"], weight.ndim)))
    return max(0, weight.ndim - of_one)


class ScionC(Scion):
    """Scion whose weight decay follows γ_eff², so that the weight norm stays (arXiv 2512.08217, Algorithm 2).

    Args:
        params, lr, momentum: As in `Scion`.
        decay: The rule for λ under a schedule, as in `Scion`; the default here is "corrected".
        arguments: All other arguments of `Scion`, by keyword.

    Raises:
        ValueError: As in `Scion`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number,
        momentum: Number = 0.9,
        *,
        decay: str = "corrected",
        **arguments: Any,
    ) -> None:
        super().__init__(params, lr, momentum, decay=decay, **arguments)


def _check_group(group: Group) -> None:
    if group["memory_light"] and group["nesterov"]:
        raise ValueError(
            "memory_light=True and nesterov=True exclude each other, because .grad only holds the average; "
            "turn one of them off"
        )
    require_mode(group["low_precision"])
    require_workspace(group["workspace_bytes"])
    if group["memory_light"] and group["low_precision"] == "compensated":
        raise ValueError(
            "memory_light=True and low_precision='compensated' exclude each other, because the compensation is state; "
            "use low_precision='stochastic' or 'auto'"
        )
    _check_norm(group["norm"], group["params"])


def _check_norm(spec: NormSpec, entries: Iterable[Any]) -> None:
    """Check the norm once for each shape, because 10⁵ small weights have few different shapes."""
    tensors = (entry[1] if isinstance(entry, tuple) else entry for entry in entries)
    shapes = dict.fromkeys(tensor.shape for tensor in tensors if isinstance(tensor, Tensor))
    norms = {dimensions: norm_for(spec, dimensions) for dimensions in dict.fromkeys(map(len, shapes))}
    for shape in shapes:
        norm = norms[len(shape)]
        # Otherwise the error would come in `step`, when other groups have already moved.
        if len(shape) < fewest_dimensions(norm):
            raise ValueError(f"norm is {spec!r} for a parameter of shape {tuple(shape)}; it must be 'bias' for vectors")
        if shape.numel() > 0:
            norm.lmo_blocks(tuple(shape))
