"""Scion and ScionC (arXiv 2502.07529; arXiv 2512.08217, Algorithm 2).

    m ← β m + (1-β) g
    θ ← (1-η) θ - γ lmo(m)          or lmo(β m + (1-β) g) with Nesterov momentum

η = γλ for Scion, η ∝ γ_eff² for ScionC: `steadydecay.theory.decay_rules`.
"""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import ParamsT

from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.groups.settings import Group, decay_of, with_references
from steadydecay.norms import ColNorm, NormSpec, RowNorm, Sign, Spectral, norm_for, plain_spec
from steadydecay.norms.batches import lmo_cost, lmo_of_each
from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches.dense_gradients import gradient_of, parameters_with_gradient
from steadydecay.optim.batches.lanes import Job, is_heavy, lanes_for, run_in_lanes
from steadydecay.optim.batches.parts import Part, Stack, by_shape, require_workspace, workspace_of
from steadydecay.optim.decoupled_step import move, scaled_update
from steadydecay.tensors.low_precision import add_state, is_low_precision, move_, require_mode
from steadydecay.tensors.row_blocks import row_blocks

# Norms of matrices fail on vectors only in `step`, when other groups have already moved.
FEWEST_DIMENSIONS: dict[type, int] = {Spectral: 2, ColNorm: 2, RowNorm: 1, Sign: 1}

# Weights, their updates and their compensations.
Piece = tuple[list[Tensor], list[Tensor], list[Tensor | None]]

# Entries: below it what an operation costs before it begins is more than what it does.
LARGE_WEIGHT = 2**15


def update_averages_(averages: list[Tensor], gradients: list[Tensor], momentum: float | Tensor) -> None:
    """m ← βm + (1-β)g."""
    if isinstance(momentum, Tensor):
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, torch._foreach_mul(gradients, 1 - momentum))
    else:
        torch._foreach_lerp_(averages, gradients, 1 - momentum)


def look_ahead(averages: list[Tensor], gradients: list[Tensor], momentum: float | Tensor) -> list[Tensor]:
    """βm + (1-β)g as new tensors: Nesterov's direction."""
    directions = [average.clone() for average in averages]
    update_averages_(directions, gradients, momentum)
    return directions


def move_parts(
    parts: list[Part], updates: list[Tensor], lr: float | Tensor, decay: float | Tensor, rounding_step: Tensor | None
) -> None:
    """θ ← (1-η)θ - γu of each, rounded at random where a count of steps is given."""
    if rounding_step is None:
        for weights, moves, compensations in pieces(parts, updates):
            move(weights, moves, lr, decay, compensations)
            # Before the next ones are made.
            del moves
        return
    for part, update in zip(parts, updates, strict=True):
        # γu in float16 would underflow.
        move_(part.weight, scaled_update(update.float(), lr), decay, None, rounding_step)


def pieces(parts: list[Part], updates: list[Tensor]) -> Iterator[Piece]:
    """What is moved at once, with updates in the dtype of the weights."""
    first, dtype = parts[0].weight, parts[0].weight.dtype
    if first.device.type != "cpu" or first.numel() < LARGE_WEIGHT or torch.compiler.is_compiling():
        weights, compensations = [part.weight for part in parts], [part.compensation for part in parts]
        # With compensations `move` takes γu in float32, whatever u is in.
        is_ready = compensations[0] is not None or updates[0].dtype == dtype
        yield weights, updates if is_ready else [update.to(dtype) for update in updates], compensations
        return
    # On a CPU large weights one by one: one pass over memory for each, and temporaries of a few rows.
    for part, update in zip(parts, updates, strict=True):
        if part.compensation is not None or update.dtype == dtype:
            yield [part.weight], [update], [part.compensation]
        elif isinstance(update, DTensor):
            yield [part.weight], [update.to(dtype)], [None]
        else:
            for of_weight, of_update in row_blocks(part.weight, update):
                yield [of_weight], [of_update.to(dtype)], [None]


class Scion(torch.optim.Optimizer):
    """Steepest descent under a norm per layer, with momentum and decoupled weight decay.

    Constrained Scion with one learning rate γ₀ and radius ρ per layer is lr = γ₀ρ, weight_decay = 1/ρ
    (arXiv 2512.08217, Sec. 2.1); weight_decay = 0 is unconstrained Scion.

    Args:
        params: tensors, named tensors or groups, best from `param_groups`. Groups may set any argument below, and
            reference_lr, reference_momentum (where weight_decay was chosen; by default the group's first values),
            role and param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: γ ≥ 0; the norm of the update. A 0-d tensor may stand for lr, momentum and weight_decay.
        momentum: β in [0, 1), of the gradient average (PyTorch's convention; the paper's α is 1-β).
        nesterov: look ahead by one gradient.
        weight_decay: λ ≥ 0 at the reference; λ · lr < 1.
        decay: rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ) or "exact".
        steady_norm_sq: the wanted E‖θ‖²/E‖u‖² instead of weight_decay; > lr². A 0-d tensor for `SteadyNorm`.
        norm: "auto" (by role, else by dimensions), a key of `steadydecay.norms.NORMS`, or a `Norm`.
        memory_light: keep no state: the average lives in `.grad`, where backward adds to it. `zero_grad` of this
            optimizer then does nothing; do not clear `.grad` otherwise. Without Nesterov momentum only.
        low_precision: how bfloat16 and float16 weights keep what rounding would take (docs/low_precision.md):
            "compensated" (two bytes of state for each weight), "stochastic" (none, but noisier), "none", or "auto",
            which is "compensated", and "stochastic" with memory_light. Other weights are as without it.
        workspace_bytes: for the temporaries of a step, beyond those of the largest weight alone; by default 0.4 for
            each entry of a group, of which one thread of a CPU takes 10 MiB at most, to stay in its cache.

    Raises:
        ValueError: an argument outside its range, or two that exclude each other. Nothing has changed then.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float | Tensor = 0.9,
        *,
        nesterov: bool = False,
        weight_decay: float | Tensor = 0.0,
        decay: str = "constant",
        steady_norm_sq: float | Tensor | None = None,
        norm: NormSpec = "auto",
        memory_light: bool = False,
        low_precision: str = "auto",
        workspace_bytes: int | None = None,
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
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Check a group, fix its references, and give its parameters their state."""
        group = with_references(param_group, self.defaults)
        if group["norm"] == "auto":
            group["norm"] = NORM_OF_ROLE.get(group.get("role"), "auto")
        group["norm"] = plain_spec(group["norm"])
        group["params"] = _as_list(group["params"])
        if group["low_precision"] == "auto":
            group["low_precision"] = "stochastic" if group["memory_light"] else "compensated"
        _check_group(group)
        super().add_param_group(group)
        if not group["memory_light"]:
            for parameter in group["params"]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        self._add_low_precision_state(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what `closure`, which recomputes the loss, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # A list first: an illegal hyperparameter or gradient in a late group must not leave early groups changed.
        rooms = [workspace_of(group["params"], group.get("workspace_bytes")) for group in self.param_groups]
        decays = [decay_of(group) for group in self.param_groups]
        groups = zip(self.param_groups, decays, rooms, strict=True)
        work = [(stack, group, decay) for group, decay, room in groups for stack in self._stacks(group, room)]
        work.sort(key=lambda of_stack: of_stack[0].cost.multiplications, reverse=True)
        lanes = lanes_for([stack for stack, *_ in work], sum(rooms))
        heavy: list[Job] = []
        light: list[Job] = []
        for stack, *others in work:
            jobs = heavy if is_heavy(stack) else light
            jobs += [partial(self._step_chunk, chunk, stack, *others) for chunk in stack.chunks(lanes)]
        run_in_lanes(heavy, light, lanes)
        for group in self.param_groups:
            if "rounding_step" in group:
                group["rounding_step"].add_(1)
        return loss

    def _stacks(self, group: Group, room: int) -> list[Stack]:
        return [self._stack(parts, group, room) for parts in by_shape(self._parts(group))]

    def _stack(self, parts: list[Part], group: Group, room: int) -> Stack:
        first = parts[0]
        norm = norm_for(group["norm"], first.weight.ndim)
        multiplied, workspace_bytes = lmo_cost(norm, first.average)
        if group["nesterov"]:
            workspace_bytes += first.average.nbytes
        # The random numbers of stochastic rounding belong to whole weights.
        is_by_rows = getattr(norm, "is_row_wise", False) and "rounding_step" not in group
        return Stack(parts, norm, LmoCost(multiplied, workspace_bytes), room, is_by_rows)

    def _parts(self, group: Group) -> list[Part]:
        parts: list[Part] = []
        for parameter in parameters_with_gradient(group, type(self).__name__):
            gradient, state = gradient_of(parameter), self.state.get(parameter, {})
            parts.append(Part(parameter, gradient, state.get("momentum", gradient), state.get("compensation")))
        return parts

    def _step_chunk(self, parts: list[Part], stack: Stack, group: Group, decay: float | Tensor) -> None:
        gradients, averages = [part.gradient for part in parts], [part.average for part in parts]
        lr, momentum = group["lr"], group["momentum"]
        if not group["memory_light"]:
            dtype = averages[0].dtype
            gradients = [gradient if gradient.dtype == dtype else gradient.to(dtype) for gradient in gradients]
            update_averages_(averages, gradients, momentum)
        # lr = 0 is bitwise identity, whatever the gradient: loaders of distributed checkpoints run such a step.
        if isinstance(lr, Tensor) or lr != 0:
            directions = look_ahead(averages, gradients, momentum) if group["nesterov"] else averages
            rounding_step = group.get("rounding_step") if is_low_precision(parts[0].weight) else None
            move_parts(parts, list(lmo_of_each(stack.norm, directions)), lr, decay, rounding_step)
        if group["memory_light"]:
            torch._foreach_mul_(gradients, momentum)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, except where they hold the average (`memory_light`)."""
        for group in self.param_groups:
            for parameter in group["params"] if not group["memory_light"] else []:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.detach_().zero_()

    def state_dict(self) -> dict[str, Any]:
        """State of all parameters, with the averages that `memory_light` keeps in `.grad`."""
        with self._gradients_as_state():
            return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and deepcopy take, with those averages: a copied parameter has no `.grad`."""
        with self._gradients_as_state():
            return {**super().__getstate__(), "state": self.state.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` or, through `load_state_dict`, `state_dict` gave."""
        super().__setstate__(state)
        for parameter in self._memory_light_parameters():
            parameter.grad = self.state.pop(parameter, {}).get("momentum")
        # The checkpoint may be of a run in float32.
        for group in self.param_groups:
            self._add_low_precision_state(group)

    def _add_low_precision_state(self, group: Group) -> None:
        mode = group.setdefault("low_precision", "none")
        rounded = [parameter for parameter in group["params"] if is_low_precision(parameter)]
        if mode == "stochastic" and rounded:
            # On the device of the weights: a captured CUDA graph reads a number of the host only once.
            count = group.get("rounding_step", torch.zeros((), dtype=torch.int64))
            group["rounding_step"] = count.to(rounded[0].device)
        add_state(self.state, group["params"], mode)

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

    def _memory_light_parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups if group["memory_light"] for p in group["params"]]


class ScionC(Scion):
    """Scion whose weight decay follows γ_eff², so that the weight norm stays (arXiv 2512.08217, Algorithm 2).

    All arguments are `Scion`'s; `decay` is "corrected" by default.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float | Tensor = 0.9,
        *,
        decay: str = "corrected",
        **arguments: Any,
    ) -> None:
        super().__init__(params, lr, momentum, decay=decay, **arguments)


def _as_list(params: Any) -> list[Any]:
    if isinstance(params, set):
        raise TypeError("params is a set; legal is an ordered collection, because state is stored by position")
    return [params] if isinstance(params, Tensor) else list(params)


def _check_group(group: Group) -> None:
    if group["memory_light"] and group["nesterov"]:
        raise ValueError("memory_light=True and nesterov=True: the average in .grad no longer has the last gradient")
    require_mode(group["low_precision"])
    require_workspace(group["workspace_bytes"])
    if group["memory_light"] and group["low_precision"] == "compensated":
        raise ValueError(
            "memory_light=True and low_precision='compensated', which is state; use 'stochastic' or 'auto'"
        )
    for entry in group["params"]:
        parameter = entry[1] if isinstance(entry, tuple) else entry
        if isinstance(parameter, Tensor):
            _check_norm(group["norm"], parameter)


def _check_norm(spec: NormSpec, parameter: Tensor) -> None:
    norm, shape = norm_for(spec, parameter.ndim), tuple(parameter.shape)
    if parameter.ndim < FEWEST_DIMENSIONS.get(type(norm), 0):
        raise ValueError(f"norm is {spec!r} for a parameter of shape {shape}; legal for vectors is 'bias'")
    if parameter.numel() > 0:
        norm.lmo_blocks(shape)
