"""AdamC (arXiv 2512.08217, Appendix B): torch's AdamW whose weight decay follows the square of the learning rate.

    m ← β₁ m + (1-β₁) g,    v ← β₂ v + (1-β₂) g²
    θ ← (1-η) θ - γ m̂ / (√v̂ + ε)          with bias-corrected m̂, v̂

η = γλ for AdamW, η ∝ γ² for AdamC: the second moment normalises, so momentum does not enter.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from steadydecay.groups.settings import Group, weight_decay_of, with_references
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM
from steadydecay.optim.batches.dense_gradients import parameters_with_gradient
from steadydecay.optim.batches.elementwise_batches import pieces, sizes_on
from steadydecay.tensors.low_precision import add_state, move_, require_deterministic
from steadydecay.theory.validation import require_in

Number = float | Tensor
ADAMW_WEIGHT_DECAY = 1e-2


class AdamC(torch.optim.AdamW):
    """torch.optim.AdamW, all its arguments and fast paths, with a weight decay that holds the weight norm.

    `group["weight_decay"]` is the coefficient at the reference lr, at all times; torch's own step sees λ_t for the
    duration of the call. A state dict of torch.optim.AdamW loads: its lr, or initial_lr under a scheduler, becomes the
    reference.

    Args:
        params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused: as for AdamW. Groups may
            also set decay, steady_norm_sq, reference_lr (where weight_decay was chosen; by default the group's first
            lr) and role. A group with role "output" keeps decay "constant" unless it names a rule.
        weight_decay: λ ≥ 0 at the reference, λ · lr < 1; None is AdamW's 0.01, or 0 beside steady_norm_sq.
        decay: rule for λ under a schedule: "constant" (λ; AdamW bit for bit), "corrected" (λ ∝ γ) or "exact".
        steady_norm_sq: the wanted E‖θ‖² in units of one update without momentum, which has entries of about 1, instead
            of weight_decay: the weights' RMS is about its root. > lr².
        low_precision: "compensated" keeps what rounding takes off bfloat16 and float16 weights (docs/low_precision.md),
            "none" is AdamW, whose decay rounds away there; other dtypes are not touched.

    Raises:
        ValueError: an argument outside its range, or two that exclude each other. Nothing has changed then.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Number | None = None,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decay: str = "corrected",
        steady_norm_sq: float | None = None,
        low_precision: str = "compensated",
    ) -> None:
        if weight_decay is None:
            weight_decay = ADAMW_WEIGHT_DECAY if steady_norm_sq is None else 0.0
        _require_legal(lr, betas, eps, weight_decay)
        # torch's constructor fills self.defaults and adds the groups before it returns.
        self._decay_defaults: Group = {"decay": decay, "steady_norm_sq": steady_norm_sq, "low_precision": low_precision}
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,  # pyright: ignore[reportArgumentType]  (a tensor works)
            amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
        )
        self.defaults |= self._decay_defaults
        del self._decay_defaults

    def add_param_group(self, param_group: Group) -> None:
        """Check a group, fix its references, and give its parameters the state that torch would give them later."""
        defaults = self.defaults | getattr(self, "_decay_defaults", {})
        if param_group.get("steady_norm_sq") is not None:
            defaults["weight_decay"] = 0.0
        group = with_references(param_group, defaults, NO_MOMENTUM)
        _require_legal(group["lr"], group["betas"], group["eps"], group["weight_decay"])
        require_deterministic(group["low_precision"])
        super().add_param_group(group)
        for parameter in group["params"]:
            self.state[parameter].update(initial_state(parameter, group))
        add_state(self.state, group["params"], group["low_precision"])
        self._note_compensations()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what `closure`, which recomputes the loss, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters_with_gradient(group, type(self).__name__)
        with self._some_weights_apart(), self._decay_of_this_step():
            without_hooks(torch.optim.AdamW)(self)
        return loss

    def __setstate__(self, state: Group) -> None:
        """Take what pickle or, through `load_state_dict`, `state_dict` gave; AdamW's groups get references."""
        super().__setstate__(state)
        for group in self.param_groups:
            if "reference_lr" not in group:
                group.update(with_references(group, self.defaults, NO_MOMENTUM))
            add_state(self.state, group["params"], group.setdefault("low_precision", "none"))
        self._note_compensations()

    def _note_compensations(self) -> None:
        """Once, for to look through 10⁴ small parameters in each step would cost 1 % of it."""
        self._has_compensations = any("compensation" in of_parameter for of_parameter in self.state.values())

    @contextmanager
    def _some_weights_apart(self) -> Iterator[None]:
        """Let torch's step move zeros in place of compensated weights: they become -γu, which these then take.

        In place of all weights at lr = 0, where they must keep their bits, whatever the gradients.
        """
        moves: list[tuple[Tensor, Tensor, Number, Number]] = []
        weights_of_groups = [group["params"] for group in self.param_groups]
        try:
            for group in filter(self._may_be_apart, self.param_groups):
                lr = group["lr"]
                stand_ins = {p: stand_in(p) for p in group["params"] if self._is_apart(p, lr)}
                if stand_ins:
                    decay = self._unless_skipped(lr * weight_decay_of(group, NO_MOMENTUM))
                    moves += [(parameter, zeros, lr, decay) for parameter, zeros in stand_ins.items()]
                    group["params"] = [stand_ins.get(parameter, parameter) for parameter in group["params"]]
            for parameter, zeros, *_ in moves:
                self.state[zeros] = self.state[parameter]
            yield
            for parameter, moved, lr, decay in moves:
                if not is_zero(lr):
                    take_in(parameter.detach(), moved.detach(), lr, decay, self.state[parameter]["compensation"])
        finally:
            for _, zeros, *_ in moves:
                self.state.pop(zeros, None)
            for group, weights in zip(self.param_groups, weights_of_groups, strict=True):
                group["params"] = weights

    def _may_be_apart(self, group: Group) -> bool:
        return self._has_compensations or is_zero(group["lr"])

    def _is_apart(self, parameter: Tensor, lr: Number) -> bool:
        return parameter.grad is not None and (is_zero(lr) or "compensation" in self.state[parameter])

    def _unless_skipped(self, decay: Number) -> Number:
        """A GradScaler's fused step skips itself where gradients overflowed; so must the decay."""
        found_inf = getattr(self, "found_inf", None)
        return decay if found_inf is None else decay * (1 - found_inf)

    @contextmanager
    def _decay_of_this_step(self) -> Iterator[None]:
        at_reference = [group["weight_decay"] for group in self.param_groups]
        of_step = [weight_decay_of(group, NO_MOMENTUM) for group in self.param_groups]
        try:
            for group, before, now in zip(self.param_groups, at_reference, of_step, strict=True):
                if isinstance(now, Tensor) and now is not before:
                    self._decay_here(group, now)
                    now = 0.0
                group["weight_decay"] = now
            yield
        finally:
            for group, before in zip(self.param_groups, at_reference, strict=True):
                group["weight_decay"] = before

    def _decay_here(self, group: Group, weight_decay: Tensor) -> None:
        """The decay under a tensor lr: torch compares weight_decay with 0, and its fused kernel takes a float, which
        would both wait for the GPU."""
        decay = self._unless_skipped(group["lr"] * weight_decay)
        parameters = parameters_with_gradient(group, type(self).__name__)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            if parameters:
                torch._foreach_mul_(parameters, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def initial_state(parameter: Tensor, group: Group) -> dict[str, Tensor]:
    """Adam's state of a parameter before its first step: what torch makes at the first gradient."""
    is_on_device = group["capturable"] or group["fused"]
    is_double = torch.get_default_dtype() == torch.float64 and not group["fused"]
    state = {
        "step": torch.zeros(
            (),
            dtype=torch.float64 if is_double else torch.float32,
            device=parameter.device if is_on_device else "cpu",
        ),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
    if group["amsgrad"]:
        state["max_exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def is_zero(lr: Number) -> bool:
    """Without a look at a tensor's value."""
    return not isinstance(lr, Tensor) and lr == 0


def stand_in(parameter: Tensor) -> Tensor:
    """Zeros with the parameter's gradient."""
    zeros = torch.zeros_like(parameter, requires_grad=True)
    zeros.grad = parameter.grad
    return zeros


def take_in(weight: Tensor, moved: Tensor, lr: Number, decay: Number, compensation: Tensor) -> None:
    """θ ← (1-η)θ + moved in place, where `moved` is what torch's step made of zeros; nothing at a tensor lr of 0."""
    for piece, moved_piece, compensation_piece in pieces((weight, moved, compensation), sizes_on(weight.device).piece):
        by = moved_piece.where(lr != 0, 0) if isinstance(lr, Tensor) else moved_piece
        move_(piece, -by, decay, compensation_piece)


def without_hooks(optimizer_class: type[torch.optim.Optimizer]) -> Callable[..., Any]:
    """A class's step as it was before torch patched it to run hooks, which the step of a subclass runs already."""
    step: Any = optimizer_class.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step


def _require_legal(lr: Number, betas: tuple[Number, Number], eps: float, weight_decay: Number) -> None:
    require_in("lr", float(lr), 0, include_low=True)
    for index, beta in enumerate(betas):
        require_in(f"betas[{index}]", float(beta), 0, 1, include_low=True, remedy="the usual values are 0.9 and 0.999")
    require_in("eps", float(eps), 0, include_low=True)
    require_in("weight_decay", float(weight_decay), 0, include_low=True)
