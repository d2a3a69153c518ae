"""Optimizers with one momentum and a decay that is separate from it: θ ← (1-η)θ - γu, with u from an average of
gradients.

This module has what they share: the average, the move, and the step that applies them to all groups.
"""

# torch's foreach functions are not public.
# pyright: reportPrivateImportUsage=false

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from steadydecay.correction.references import settled_decays
from steadydecay.groups.settings import Group, may_move, weight_decay_of_step
from steadydecay.optim.batches.elementwise_batches import Sizes, in_elementwise_batches, sizes_on, slices_of
from steadydecay.optim.batches.parts import Advance, Number, PartsOfGroup, StepBatch, parts_of
from steadydecay.optim.fitting_state import StateKeys
from steadydecay.optim.stateful_optimizer import StatefulOptimizer
from steadydecay.parallel.cuts import Cut, zeros_for
from steadydecay.parallel.rank_groups import is_alone
from steadydecay.parallel.regions import positions_in
from steadydecay.tensors.low_precision import (
    compensated,
    is_low_precision,
    new_state,
    require_deterministic,
    stochastic,
    uniform_of_step,
)


def average_(averages: list[Tensor], gradients: list[Tensor], beta: Number) -> None:
    """Compute m ← βm + (1-β)g for each, in place. A tensor β is not read, which would wait for the device."""
    if isinstance(beta, Tensor):
        torch._foreach_mul_(averages, beta)
        torch._foreach_add_(averages, torch._foreach_mul(gradients, 1 - beta))
    else:
        torch._foreach_lerp_(averages, gradients, 1 - beta)


def averages_of(averages: list[Tensor], gradients: list[Tensor], beta: Number) -> list[Tensor]:
    """Return βm + (1-β)g for each, as new tensors."""
    if isinstance(beta, Tensor):
        averaged = list(torch._foreach_mul(averages, beta))
        torch._foreach_add_(averaged, torch._foreach_mul(gradients, 1 - beta))
        return averaged
    return list(torch._foreach_lerp(averages, gradients, 1 - beta))


def move(
    batch: StepBatch,
    updates: Sequence[Tensor],
    lr: Number,
    decay: Number,
    *,
    rounding_step: Tensor | None = None,
    scale: Number | None = None,
) -> None:
    """Compute θ ← (1-η)θ - γu in place. At lr = 0 nothing changes, bit for bit, whatever the updates are.

    Args:
        batch: Weights of one dtype and device. Either all or none of them have compensations.
        updates: u of each, in the dtype of the weights or a lower one. They are not written to.
        lr, decay: γ and η.
        rounding_step: The count of steps, by which low-precision weights are rounded at random.
        scale: The factor for the updates if γ is already included in them.
    """
    if not may_move(lr):
        return
    weights, compensations = batch.weights, batch.compensations
    sizes = sizes_on(weights[0].device)
    if rounding_step is not None and is_low_precision(weights[0]):
        for weight, update, cut in zip(weights, updates, batch.cuts, strict=True):
            _move_at_random(weight, update, lr, decay, scale, rounding_step, cut)
    elif compensations[0] is None and _is_small(weights[0], updates[0], sizes):
        _move_plainly(weights, updates, lr, decay, scale)
    else:
        # One by one takes one pass over memory for each. Temporaries are as large as a slice.
        for one in zip(weights, updates, compensations, strict=True):
            for views in slices_of([tensor for tensor in one if tensor is not None], sizes.alone):
                _move_slice(*views, lr=lr, decay=decay, scale=scale)


def _move_slice(
    weight: Tensor,
    update: Tensor,
    compensation: Tensor | None = None,
    *,
    lr: Number,
    decay: Number,
    scale: Number | None,
) -> None:
    if compensation is None:
        _move_plainly([weight], [update.to(weight.dtype)], lr, decay, scale)
    else:
        rounded, remainder = compensated(weight, compensation, _scaled(update.float(), lr, scale), decay)
        weight.copy_(rounded)
        compensation.copy_(remainder)


def _move_at_random(
    weight: Tensor,
    update: Tensor,
    lr: Number,
    decay: Number,
    scale: Number | None,
    rounding_step: Tensor,
    cut: Cut | None,
) -> None:
    """Move one weight with stochastic rounding, whose random numbers belong to the whole weight."""
    positions = None if cut is None else positions_in(cut.own_region(), cut.shape, weight.device)
    uniform = uniform_of_step(weight, rounding_step, positions)
    weight.copy_(stochastic(weight, _scaled(update.float(), lr, scale), decay, uniform))


def _move_plainly(
    weights: list[Tensor], updates: Sequence[Tensor], lr: Number, decay: Number, scale: Number | None
) -> None:
    if scale is None and is_alpha(lr, weights[0]) and is_alpha(decay, weights[0]):
        descend(weights, list(updates), lr, decay / lr)
    else:
        torch._foreach_mul_(weights, 1 - decay)
        torch._foreach_sub_(weights, [_scaled(update, lr, scale) for update in updates])


def _is_small(weight: Tensor, update: Tensor, sizes: Sizes) -> bool:
    """Return whether weights like this are moved faster together, with updates that need no preparation."""
    return update.dtype == weight.dtype and weight.numel() <= sizes.together // 2


def _scaled(update: Tensor, lr: Number, scale: Number | None) -> Tensor:
    """Return γu. It is zero at a tensor lr of zero, which `may_move` does not see, even if u is not finite."""
    scaled = update * (lr if scale is None else scale)
    return scaled.where(lr != 0, 0) if isinstance(lr, Tensor) else scaled


def is_alpha(number: Number, like: Tensor) -> TypeGuard[float]:
    """Return whether it may be torch's α, which reads tensors (waits for the device) and is rounded to the dtype."""
    return not isinstance(number, Tensor) and not is_low_precision(like)


def descend(weights: list[Tensor], updates: list[Tensor], lr: float, weight_decay: float) -> None:
    """Compute θ ← θ - γ(u + λθ) in place without rounding 1-γλ, which in float32 is a multiple of 6·10⁻⁸."""
    if weight_decay == 0:
        torch._foreach_add_(weights, updates, alpha=-lr)
    elif is_one_block(weights) and is_one_block(updates):
        # This gives the same bits in one pass over memory, but is slower to start than two passes over a small weight.
        torch._fused_sgd_(
            weights,
            updates,
            [],
            weight_decay=weight_decay,
            momentum=0.0,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
    else:
        torch._foreach_add_(weights, torch._foreach_add(updates, weights, alpha=weight_decay), alpha=-lr)


def is_one_block(tensors: list[Tensor]) -> bool:
    """Return whether this is one tensor for torch's fused SGD, which checks neither strides nor subclasses."""
    first = tensors[0]
    is_plain = type(first) in (Tensor, nn.Parameter) and first.dtype in (torch.float32, torch.float64)
    is_known = first.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()
    return len(tensors) == 1 and is_plain and is_known and first.is_contiguous()


class DecoupledOptimizer(StatefulOptimizer):
    """The step of all groups and their state: one momentum for each weight, and what rounding has removed from it.

    A subclass defines its `update_momentum`, how a batch of weights is stepped in `advance`, which weights are a batch
    in `in_batches`, and what its groups may hold in `checked`. Groups have the keys that `with_references` needs, and
    "low_precision".
    """

    # For each state, the tensors that were gathered for its keys.
    _whole: Sequence[tuple[dict[str, Any], str, Tensor]] = ()

    @abstractmethod
    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None:
        """Step a batch of weights of a group, of one dtype and device, whose decay is η."""

    def in_batches(self, groups: Sequence[PartsOfGroup], advance: Advance) -> None:
        """Pass all parts of the groups to `advance`, in batches."""
        in_elementwise_batches(groups, advance)

    def checked(self, group: Group) -> Group:
        require_deterministic(group["low_precision"])
        return group

    def state_keys(self, group: Group) -> StateKeys:
        return StateKeys() if group.get("memory_light") else StateKeys(("momentum",))

    def saved_keys(self, group: Group) -> StateKeys:
        return StateKeys(("momentum",))

    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        if group.get("memory_light"):
            return {}
        cut = self.cuts.get(parameter) if self.cuts else None
        zeros_like = torch.zeros_like if cut is None else partial(zeros_for, cut=cut)
        return {"momentum": zeros_like(parameter), **new_state(parameter, group["low_precision"], zeros_like)}

    def add_param_group(self, param_group: Group) -> None:
        """Check a group, fix its references, and create the state of its parameters."""
        group = self.admitted(param_group, self.defaults)
        super().add_param_group(group)
        for parameter in group["params"]:
            if initial := self.initial_state(parameter, group):
                self.state[parameter].update(initial)
        _add_rounding_step(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one step and return what `closure`, which recomputes the loss, returns."""
        # torch.compile compiles this frame as a whole only if it names torch.
        with torch.enable_grad():
            loss = None if closure is None else closure()
        if is_alone():
            self._step()
        else:
            # A compiler does not see what other ranks do.
            torch.compiler.disable(self._step)()  # pyright: ignore[reportCallIssue]  (as torch writes it)
        return loss

    def _step(self) -> None:
        self.fit_state()
        self._whole = ()
        self.agree_on_gradients()
        # Make all lists first: an illegal number or gradient in a late group must not leave earlier groups changed.
        name = type(self).__name__
        parts = [parts_of(group, self.state, name, self.cuts) for group in self.param_groups]
        decays = settled_decays(self, self.update_momentum, self._decay_of_step)
        self.in_batches(list(map(PartsOfGroup, self.param_groups, decays, parts)), self.advance)
        for group in self.param_groups:
            if "rounding_step" in group:
                group["rounding_step"].add_(1)

    @torch.no_grad()
    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gather state that is sharded over ranks, for the `state_dict` of one rank. Every rank must call it.

        The next `state_dict` of that rank, before the next step, is whole and on the CPU. It is named and behaves like
        that of `torch.distributed.optim.ZeroRedundancyOptimizer`, which Lightning calls before it saves.

        Args:
            to: The rank that gets the state. The other ranks keep nothing.
        """
        cut = [
            (state, key, tensor)
            for state in self.state.values()
            for key, tensor in state.items()
            if isinstance(tensor, DTensor)
        ]
        gathered = ((state, key, tensor.full_tensor()) for state, key, tensor in cut)
        self._whole = [(state, key, whole.cpu()) for state, key, whole in gathered if dist.get_rank() == to]

    def state_dict(self) -> dict[str, Any]:
        """Return state and groups as torch does. State that `consolidate_state_dict` has gathered is whole."""
        if not self._whole:
            return super().state_dict()
        held = [(state, key, state[key]) for state, key, _ in self._whole]
        try:
            for state, key, whole in self._whole:
                state[key] = whole
            # Copy each state, because those of this optimizer are put back afterwards.
            saved = super().state_dict()
            return saved | {"state": {index: dict(state) for index, state in saved["state"].items()}}
        finally:
            for state, key, part in held:
                state[key] = part

    def state_was_fitted(self) -> None:
        for group in self.param_groups:
            _add_rounding_step(group)

    def _decay_of_step(self, group: Group, index: int) -> Number:
        return group["lr"] * weight_decay_of_step(group, self.update_momentum, index)


def _add_rounding_step(group: Group) -> None:
    """Add the step count of "stochastic" on the weights' device, because a CUDA graph reads the host only once."""
    rounded = [parameter for parameter in group["params"] if is_low_precision(parameter)]
    if group["low_precision"] == "stochastic" and rounded:
        count = group.get("rounding_step", torch.zeros((), dtype=torch.int64))
        group["rounding_step"] = count.to(rounded[0].device)
