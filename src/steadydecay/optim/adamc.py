"""AdamC (arXiv 2512.08217, Appendix B): torch's AdamW whose weight decay follows the square of the learning rate.

    m ← β₁ m + (1-β₁) g,    v ← β₂ v + (1-β₂) g²
    θ ← (1-η) θ - γ m̂ / (√v̂ + ε)          with bias-corrected m̂, v̂

η = γλ for AdamW and η ∝ γ² for AdamC: the second moment normalises, so momentum does not matter.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable

from steadydecay.correction.references import settled_decays
from steadydecay.groups.key_types import NO_WEIGHT_CHANGED, as_pair, require_types
from steadydecay.groups.settings import Group, may_move, require_adam_numbers, weight_decay_of_step
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM
from steadydecay.optim.batches.parts import Number, StepBatch, parameters_with_gradient
from steadydecay.optim.decoupled_step import move
from steadydecay.optim.fitting_state import StateKeys
from steadydecay.optim.stateful_optimizer import StatefulOptimizer
from steadydecay.parallel.shards import local_part
from steadydecay.tensors.low_precision import new_state, require_deterministic
from steadydecay.theory.validation import require_in

ADAMW_WEIGHT_DECAY = 1e-2
# Raises if a CUDA graph records a step that reads numbers of the host. It was renamed in torch 2.10.
GRAPH_CAPTURE_CHECK = next(
    name
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")
    if hasattr(torch.optim.Optimizer, name)
)


class AdamC(StatefulOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW, with all its arguments and fast paths, whose weight decay holds the weight norm.

    `group["weight_decay"]` is always the coefficient at the reference lr; the step uses λ_t (arXiv 2512.08217, Appendix
    B). A state dict of torch.optim.AdamW can be loaded: the initial_lr of its scheduler becomes the reference, or else
    the larger of its lr and the previous reference.

    Args:
        params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused: As in AdamW. Groups may
            also set decay, steady_norm_sq, reference_lr (the lr at which weight_decay was chosen, by default the peak
            of the schedule) and role. A group with role "output" keeps decay "constant" unless it names a rule.
        weight_decay: λ ≥ 0 at the reference, with λ · lr < 1. None is AdamW's 0.01, or 0 if steady_norm_sq is given.
        decay: The rule for λ under a schedule: "constant" (λ, which is AdamW bit for bit), "corrected" (λ ∝ γ) or
            "exact".
        steady_norm_sq: The desired E‖θ‖², above lr², to be given instead of weight_decay. It is in units of one update
            without momentum, whose entries are about 1, so that the RMS of the weights is about its square root.
        low_precision: "compensated" keeps what rounding removes from bfloat16 and float16 weights
            (docs/low_precision.md). "none" is AdamW, whose decay is lost there by rounding. Other dtypes are not
            affected.

    Raises:
        ValueError: An argument is outside its range, or two exclude each other. Nothing has changed.
    """

    update_momentum = NO_MOMENTUM

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
        # torch's constructor sets self.defaults and adds the groups before it returns.
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
        """Check a group, fix its references, and create the state that torch would create later."""
        defaults = self.defaults | getattr(self, "_decay_defaults", {})
        if param_group.get("steady_norm_sq") is not None:
            defaults["weight_decay"] = 0.0
        group = self.admitted(param_group, defaults)
        super().add_param_group(group)
        for parameter in group["params"]:
            self.state[parameter].update(self.initial_state(parameter, group))
        # Fit the state of this group alone: looking at all groups for each of 10³ takes longer than the rest.
        has_new = any("compensation" in self.state[parameter] for parameter in group["params"])
        self._has_compensations = has_new or getattr(self, "_has_compensations", False)
        self._has_sharded = _has_sharded(group) or getattr(self, "_has_sharded", False)

    def checked(self, group: Group) -> Group:
        _require_legal(group["lr"], group["betas"], group["eps"], group["weight_decay"])
        require_deterministic(group["low_precision"])
        return group

    def state_keys(self, group: Group) -> StateKeys:
        largest = ("max_exp_avg_sq",) if group["amsgrad"] else ()
        return StateKeys(("exp_avg", "exp_avg_sq", *largest), ("step",))

    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        return initial_state(parameter, group) | new_state(parameter, group["low_precision"])

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one step and return what `closure`, which recomputes the loss, returns."""
        getattr(self, GRAPH_CAPTURE_CHECK)()
        with torch.enable_grad():
            loss = None if closure is None else closure()
        if self._has_sharded:
            # A compiler does not see what other ranks do.
            torch.compiler.disable(self._step)()  # pyright: ignore[reportCallIssue]  (as torch writes it)
        else:
            self._step()
        return loss

    def _step(self) -> None:
        self.fit_state()
        self.agree_on_gradients()
        # Make all lists first: an illegal number or gradient in a late group must not leave earlier groups changed.
        for group in self.param_groups:
            parameters_with_gradient(group, type(self).__name__)
        of_this_step = settled_decays(self, NO_MOMENTUM, _weight_decay_of_step)
        for group, weight_decay in zip(self.param_groups, of_this_step, strict=True):
            self.step_group(group, weight_decay)

    def step_group(self, group: Group, weight_decay: Number) -> None:
        """Perform torch's AdamW step with λ of this step.

        It moves zeros instead of compensated weights. They become -γu, which is then added to these weights. At lr = 0
        it moves zeros instead of all weights, because these must keep their bits whatever the gradients are.
        """
        # Weights, gradients, averages of gradients and of their squares, the largest of these, and step counts.
        lists: list[list[Tensor]] = [[], [], [], [], [], []]
        has_complex = self._init_group(group, *lists)
        parameters, lr = lists[0], group["lr"]
        if self._has_sharded and not group["differentiable"]:
            lists = local_parts(lists)
        weights = lists[0]
        decay = self._unless_skipped(lr * weight_decay)
        apart = self._apart(parameters, weights, lr)
        if apart:
            lists[0] = [apart.get(index, weight) for index, weight in enumerate(weights)]
        if isinstance(weight_decay, Tensor) and weight_decay is not group["weight_decay"] and weights:
            # torch compares it with 0, and its fused kernel takes a float. Both would wait for the GPU.
            torch._foreach_mul_(lists[0], 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
            weight_decay = 0.0
        self._adamw(group, lists, weight_decay, has_complex)
        for index, moved in apart.items():
            weight, kept = weights[index].detach(), self.state[parameters[index]].get("compensation")
            compensation = None if kept is None else local_part(kept)
            move(StepBatch([weight], [], [], [compensation], [None]), [moved.detach()], lr, decay, scale=-1.0)

    def _adamw(self, group: Group, lists: list[list[Tensor]], weight_decay: Number, has_complex: bool) -> None:
        beta1, beta2 = group["betas"]
        adamw(
            *lists,
            foreach=group["foreach"],
            capturable=group["capturable"],
            differentiable=group["differentiable"],
            fused=group["fused"],
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
            has_complex=has_complex,
            amsgrad=group["amsgrad"],
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=weight_decay,  # pyright: ignore[reportArgumentType]  (a tensor of the user's works)
            eps=group["eps"],
            maximize=group["maximize"],
        )

    def state_was_fitted(self) -> None:
        """Look at the parameters once, because looking at 10⁴ small ones in each step would cost 1 % of it."""
        self._has_compensations = any("compensation" in of_parameter for of_parameter in self.state.values())
        self._has_sharded = any(map(_has_sharded, self.param_groups))

    def _apart(self, parameters: list[Tensor], weights: list[Tensor], lr: Number) -> dict[int, Tensor]:
        """Return zeros, by position, to replace the local parts of parameters that torch must not move."""
        if may_move(lr) and not self._has_compensations:
            return {}
        return {
            index: torch.zeros_like(weight)
            for index, (parameter, weight) in enumerate(zip(parameters, weights, strict=True))
            if not may_move(lr) or "compensation" in self.state[parameter]
        }

    def _unless_skipped(self, decay: Number) -> Number:
        """Return the decay, or 0 if a GradScaler's fused step skips itself because gradients overflowed."""
        found_inf = getattr(self, "found_inf", None)
        return decay if found_inf is None else decay * (1 - found_inf)


@torch.no_grad()
def local_parts(lists: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Return the local parts of weights, of their gradients in the layout of the weights, and of everything else.

    Adam treats each entry alone. So plain weights may stand beside sharded ones, which torch's functions on several
    tensors refuse, and no part of the step is larger than the local parts.
    """
    weights, gradients, *state = lists
    of_weights = [local_part(gradient, weight) for gradient, weight in zip(gradients, weights, strict=True)]
    return [list(map(local_part, weights)), of_weights, *(list(map(local_part, one)) for one in state)]


def initial_state(parameter: Tensor, group: Group) -> dict[str, Tensor]:
    """Return Adam's state of a parameter before its first step, which torch creates at the first gradient."""
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


def _weight_decay_of_step(group: Group, index: int) -> Number:
    """Return `weight_decay_of_step`, after checking that torch's function accepts the other numbers too."""
    found = weight_decay_of_step(group, NO_MOMENTUM, index)
    require_adam_numbers(group, index)
    if group["capturable"] and not torch.compiler.is_compiling():
        _require_capturable(group, index)
    tensors = [name for name in ("lr", "betas") if _has_tensor(group[name])]
    if tensors and group["foreach"] and not group["capturable"]:
        remedy = "torch's foreach step needs numbers unless it is capturable"
        raise ValueError(
            f"{tensors[0]} of group {index} is {group[tensors[0]]!r}; it must be a number: {remedy}. "
            f"{NO_WEIGHT_CHANGED}"
        )
    return found


def _has_sharded(group: Group) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in group["params"])


def _require_capturable(group: Group, index: int) -> None:
    on_host = next((parameter for parameter in group["params"] if parameter.device.type == "cpu"), None)
    if on_host is not None:
        legal = "it must be False for weights on the CPU, where there is no graph to capture"
        raise ValueError(f"capturable of group {index} is {group['capturable']!r}; {legal}. {NO_WEIGHT_CHANGED}")


def _has_tensor(hyperparameter: Any) -> bool:
    numbers = hyperparameter if isinstance(hyperparameter, tuple | list) else (hyperparameter,)
    return any(isinstance(number, Tensor) for number in numbers)


def _require_legal(lr: Number, betas: tuple[Number, Number], eps: float, weight_decay: Number) -> None:
    require_types({"lr": lr, "betas": as_pair(betas), "eps": eps, "weight_decay": weight_decay})
    require_in("lr", float(lr), 0, include_low=True)
    for index, beta in enumerate(betas):
        require_in(f"betas[{index}]", float(beta), 0, 1, include_low=True, remedy="the usual values are 0.9 and 0.999")
    require_in("eps", float(eps), 0, include_low=True)
    require_in("weight_decay", float(weight_decay), 0, include_low=True)
