"""Scion and ScionC (arXiv 2502.07529; arXiv 2512.08217, Algorithm 2).

    m ← β m + (1-β) g
    θ ← (1-η) θ - γ lmo(m)          or lmo(β m + (1-β) g) with Nesterov momentum

η = γλ for Scion, η ∝ γ_eff² for ScionC: `steadydecay.theory.decay_rules`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from steadydecay.group_settings import Group, decay_of, with_references
from steadydecay.groups import NORM_OF_ROLE
from steadydecay.low_precision import add_state, is_low_precision, move_, require_mode
from steadydecay.norms import ColNorm, Norm, NormSpec, RowNorm, Sign, Spectral, norm_for, plain_spec
from steadydecay.optim.decoupled_step import scaled_update
from steadydecay.optim.dense_gradients import gradient_of, parameters_with_gradient

# Norms of matrices fail on vectors only in `step`, when other groups have already moved.
FEWEST_DIMENSIONS: dict[type, int] = {Spectral: 2, ColNorm: 2, RowNorm: 1, Sign: 1}


def updated_average(average: Tensor, gradient: Tensor, momentum: float | Tensor) -> Tensor:
    """m ← βm + (1-β)g."""
    return average * momentum + gradient * (1 - momentum)


def lmo_of_each(norm: Norm, directions: list[Tensor]) -> Iterable[Tensor]:
    """lmo of tensors of one shape, as one batch."""
    if directions[0].ndim == 0 or len(directions) == 1:
        return [norm.lmo(direction) for direction in directions]
    return norm.lmo(torch.stack(directions)).unbind()


def by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Lists of one shape, dtype and device each: one batch for the LMO."""
    batches: dict[Any, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        batches[parameter.shape, parameter.dtype, parameter.device].append(parameter)
    return list(batches.values())


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
        low_precision: how bfloat16 and float16 weights keep what rounding would take (`steadydecay.low_precision`):
            "compensated" (two bytes of state for each weight), "stochastic" (none, but noisier), "none", or "auto",
            which is "compensated", and "stochastic" with memory_light. Other weights are as without it.

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
        batches = [
            (same_shape, group, decay_of(group))
            for group in self.param_groups
            for same_shape in by_shape(parameters_with_gradient(group, type(self).__name__))
        ]
        for same_shape, group, decay in batches:
            self._step_same_shape(same_shape, group, decay)
        for group in self.param_groups:
            if "rounding_step" in group:
                group["rounding_step"].add_(1)
        return loss

    def _step_same_shape(self, parameters: list[Tensor], group: Group, decay: float | Tensor) -> None:
        lr = group["lr"]
        directions = [self._direction(parameter, group) for parameter in parameters]
        # lr = 0 is bitwise identity, whatever the gradient: loaders of distributed checkpoints run such a step.
        if isinstance(lr, Tensor) or lr != 0:
            updates = lmo_of_each(norm_for(group["norm"], parameters[0].ndim), directions)
            rounding_step = group.get("rounding_step") if is_low_precision(parameters[0]) else None
            for parameter, update in zip(parameters, updates, strict=True):
                compensation = self.state.get(parameter, {}).get("compensation")
                # γu in float16 would underflow.
                is_plain = compensation is None and rounding_step is None
                step = scaled_update(update if is_plain else update.float(), lr)
                move_(parameter, step, decay, compensation, rounding_step)
        if group["memory_light"]:
            for parameter in parameters:
                gradient_of(parameter).mul_(group["momentum"])

    def _direction(self, parameter: Tensor, group: Group) -> Tensor:
        gradient, momentum = gradient_of(parameter), group["momentum"]
        if group["memory_light"]:
            return gradient
        average = self.state[parameter]["momentum"]
        average.copy_(updated_average(average, gradient, momentum))
        return updated_average(average, gradient, momentum) if group["nesterov"] else average

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
        if mode == "stochastic" and any(map(is_low_precision, group["params"])):
            group.setdefault("rounding_step", torch.zeros((), dtype=torch.int64))
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
