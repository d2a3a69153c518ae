"""Optimizers that keep one momentum and decay apart from it: θ ← (1-η)θ - γu, with u of an average of gradients.

Here is what they share: the average, the move, and the step that takes all groups through them.
"""

# torch's foreach functions have no public names.
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
    """m ← βm + (1-β)g of each, in place; a tensor β is not looked at, which would wait for the device."""
    if isinstance(beta, Tensor):
        torch._foreach_mul_(averages, beta)
        torch._foreach_add_(averages, torch._foreach_mul(gradients, 1 - beta))
    else:
        torch._foreach_lerp_(averages, gradients, 1 - beta)


def averages_of(averages: list[Tensor], gradients: list[Tensor], beta: Number) -> list[Tensor]:
    """βm + (1-β)g of each, as new tensors."""
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
    """θ ← (1-η)θ - γu in place; lr = 0 is bitwise identity, whatever the updates, which are not written to.

    Args:
        batch: weights of one dtype and device, with compensations of all or of none.
        updates: u of each, in the dtype of the weights or a lower one.
        lr, decay: γ, η.
        rounding_step: count of steps, by which low-precision weights are rounded at random.
        scale: what the updates are multiplied by where γ is in them already.
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
        # One by one, which is one pass over memory for each. What is made on the way is as large as a slice.
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
    """The random numbers belong to the whole weight."""
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
    """Whether weights like this had better be moved together, with updates that nothing need be made of before."""
    return update.dtype == weight.dtype and weight.numel() <= sizes.together // 2


def _scaled(update: Tensor, lr: Number, scale: Number | None) -> Tensor:
    """γu; zero at a tensor lr of zero, which `may_move` does not see, even where u is not finite."""
    scaled = update * (lr if scale is None else scale)
    return scaled.where(lr != 0, 0) if isinstance(lr, Tensor) else scaled


def is_alpha(number: Number, like: Tensor) -> TypeGuard[float]:
    """Whether it may be torch's α, which reads a tensor (waits for the device) and is rounded to a narrow dtype."""
    return not isinstance(number, Tensor) and not is_low_precision(like)


def descend(weights: list[Tensor], updates: list[Tensor], lr: float, weight_decay: float) -> None:
    """θ ← θ - γ(u + λθ) in place, in which 1-γλ is not rounded: in float32 that would be a multiple of 6·10⁻⁸."""
    if weight_decay == 0:
        torch._foreach_add_(weights, updates, alpha=-lr)
    elif is_one_block(weights) and is_one_block(updates):
        # The same bits in one pass over memory, which takes longer to start than two over a small weight.
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
    """Whether it is one tensor that torch's fused SGD can take, which looks neither at strides nor at a subclass."""
    first = tensors[0]
    is_plain = type(first) in (Tensor, nn.Parameter) and first.dtype in (torch.float32, torch.float64)
    is_known = first.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()
    return len(tensors) == 1 and is_plain and is_known and first.is_contiguous()


class DecoupledOptimizer(StatefulOptimizer):
    """The step of all groups, and the state: one momentum for each weight, and what rounding took off it.

    A subclass says its `update_momentum`, in `advance` how a batch of weights is stepped, in `in_batches` which weights
    are a batch, and in `checked` what its groups may hold. Groups carry what `with_references` asks for and
    "low_precision".
    """

    # States with what was gathered for each key of them.
    _whole: Sequence[tuple[dict[str, Any], str, Tensor]] = ()

    @abstractmethod
    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None:
        """One step of a batch of weights of a group, of one dtype and device, whose decay is η."""

    def in_batches(self, groups: Sequence[PartsOfGroup], advance: Advance) -> None:
        """Hand all parts of the groups to `advance`, in batches."""
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
        """Check a group, fix its references, and give its parameters their state."""
        group = self.admitted(param_group, self.defaults)
        super().add_param_group(group)
        for parameter in group["params"]:
            if initial := self.initial_state(parameter, group):
                self.state[parameter].update(initial)
        _add_rounding_step(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what `closure`, which recomputes the loss, returns."""
        # torch.compile takes this frame as one only if it names torch.
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
        # Lists first: an illegal hyperparameter or gradient in a late group must not leave early groups changed.
        name = type(self).__name__
        parts = [parts_of(group, self.state, name, self.cuts) for group in self.param_groups]
        decays = settled_decays(self, self.update_momentum, self._decay_of_step)
        self.in_batches(list(map(PartsOfGroup, self.param_groups, decays, parts)), self.advance)
        for group in self.param_groups:
            if "rounding_step" in group:
                group["rounding_step"].add_(1)

    @torch.no_grad()
    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gather state that is cut over ranks, for the `state_dict` of one of them; every rank calls it.

        The next `state_dict` of that rank, before the next step, holds it whole, on the CPU. It is called and does as
        `torch.distributed.optim.ZeroRedundancyOptimizer`'s, which Lightning calls before it saves.

        Args:
            to: that rank; the other ranks keep nothing.
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
        """State and groups, as torch's; what `consolidate_state_dict` has gathered is whole."""
        if not self._whole:
            return super().state_dict()
        held = [(state, key, state[key]) for state, key, _ in self._whole]
        try:
            for state, key, whole in self._whole:
                state[key] = whole
            # A copy of each state, for those of this optimizer are put back.
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
    """What "stochastic" counts steps by, on the device of the weights: a captured CUDA graph reads the host once."""
    rounded = [parameter for parameter in group["params"] if is_low_precision(parameter)]
    if group["low_precision"] == "stochastic" and rounded:
        count = group.get("rounding_step", torch.zeros((), dtype=torch.int64))
        group["rounding_step"] = count.to(rounded[0].device)
