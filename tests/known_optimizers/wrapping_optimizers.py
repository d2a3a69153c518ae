"""Wrappers as people write them, each around torch's AdamW: `WRAPPERS` builds one and says how a step is taken."""

# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from collections.abc import Callable
from typing import Any

import pytorch_optimizer
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from real_optimizers import class_of
from torch import Tensor, nn
from torch.optim import Optimizer

LR, WEIGHT_DECAY = 0.1, 0.5


class SharpnessAware(Optimizer):
    """davda54/sam, which most projects copy."""

    def __init__(self, params: Any, base_optimizer: type[Optimizer], rho: float = 0.05, **kwargs: Any) -> None:
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["old_p"] = parameter.data.clone()
                parameter.add_(group["rho"] * parameter.grad / (parameter.grad.norm() + 1e-12))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = self.state[parameter]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.first_step(zero_grad=True)
        torch.enable_grad()(closure)()
        self.second_step()

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        self.base_optimizer.param_groups = self.param_groups


class Holder:
    """No optimizer by type, as fairseq's and DeepSpeed's: the real one under a name of its own."""

    def __init__(self, optimizer: Any, name: str) -> None:
        self.name = name
        setattr(self, name, optimizer)

    @property
    def param_groups(self) -> Any:
        return getattr(self, self.name).param_groups

    def step(self, closure: Any = None) -> Any:
        return getattr(self, self.name).step(closure)


class Unhooked(Optimizer):
    """As torchcontrib's SWA and older Lookaheads: never calls torch's constructor."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._inner = optimizer
        self.param_groups, self.state, self.defaults = optimizer.param_groups, optimizer.state, optimizer.defaults

    def step(self, closure: Any = None) -> Any:
        return self._inner.step(closure)


class StepsByItself(Optimizer):
    """Shares the groups of what it holds, and never steps it: signs of gradients."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.base_optimizer = optimizer

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(parameter.grad.sign(), alpha=group["lr"])


class CopiesGroups(Optimizer):
    """Has groups of its own, of the same weights; what it holds reads its own."""

    def __init__(self, optimizer: Optimizer) -> None:
        groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
        super().__init__(groups, optimizer.defaults)
        self.inner = optimizer

    def step(self, closure: Any = None) -> Any:
        for own, inner in zip(self.param_groups, self.inner.param_groups, strict=True):
            inner["lr"] = own["lr"]
        return self.inner.step(closure)


class PointsBack(Optimizer):
    """What it holds knows it as well."""

    def __init__(self, optimizer: Any) -> None:
        self.wrapped = optimizer
        optimizer.wrapper = self

    @property
    def param_groups(self) -> Any:
        return self.wrapped.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.wrapped.step(closure)


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)


def accelerator() -> Accelerator:
    """Accelerate keeps one state in the process, which another test may have left half made."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True)


def sam(model: nn.Module) -> SharpnessAware:
    return SharpnessAware(model.parameters(), torch.optim.AdamW, lr=LR, weight_decay=WEIGHT_DECAY)


def backward(model: nn.Module, seed: int) -> Tensor:
    model.zero_grad()
    loss = model(torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))).square().mean()
    loss.backward()
    return loss


def step(wrapper: Any, model: nn.Module, seed: int) -> None:
    backward(model, seed)
    wrapper.step()


def step_in_two(wrapper: Any, model: nn.Module, seed: int) -> None:
    backward(model, seed)
    wrapper.first_step(zero_grad=True)
    backward(model, seed)
    wrapper.second_step(zero_grad=True)


def step_with_closure(wrapper: Any, model: nn.Module, seed: int) -> None:
    backward(model, seed)
    wrapper.step(lambda: backward(model, seed))


def of_package(name: str) -> Callable[[nn.Module], Any]:
    """pytorch_optimizer's: of the class of what they hold."""
    kind = getattr(pytorch_optimizer, name)
    keys = {"lr": LR, "weight_decay": WEIGHT_DECAY}
    if name == "WSAM":
        return lambda model: kind(model, model.parameters(), torch.optim.AdamW, **keys)
    return lambda model: kind(model.parameters(), torch.optim.AdamW, **keys)


Step = Callable[[Any, nn.Module, int], None]
WRAPPERS: dict[str, tuple[Callable[[nn.Module], Any], Step]] = {
    "SAM, two steps": (sam, step_in_two),
    "SAM, closure": (sam, step_with_closure),
    "pytorch_optimizer SAM, two steps": (of_package("SAM"), step_in_two),
    "pytorch_optimizer SAM, closure": (of_package("SAM"), step_with_closure),
    "pytorch_optimizer WSAM": (of_package("WSAM"), step_with_closure),
    "pytorch_optimizer LookSAM": (of_package("LookSAM"), step_with_closure),
    "pytorch_optimizer Lookahead": (lambda model: pytorch_optimizer.Lookahead(adamw(model)), step),
    "timm Lookahead": (lambda model: class_of("timm", "Lookahead")(adamw(model)), step),
    "Accelerate": (lambda model: accelerator().prepare(adamw(model)), step),
    "Accelerate around SAM": (
        lambda model: accelerator() and AcceleratedOptimizer(sam(model)),
        lambda wrapper, model, seed: step_in_two(wrapper.optimizer, model, seed),
    ),
    "fairseq": (lambda model: Holder(adamw(model), "_optimizer"), step),
    "fairseq in half precision": (lambda model: Holder(Holder(adamw(model), "_optimizer"), "fp32_optimizer"), step),
    "DeepSpeed": (lambda model: Holder(adamw(model), "optimizer"), step),
    "Megatron": (lambda model: Holder(adamw(model), "optim"), step),
    "a list": (
        lambda model: Holder([adamw(model)], "opts"),
        lambda wrapper, model, seed: step(wrapper.opts[0], model, seed),
    ),
    "without torch's constructor": (lambda model: Unhooked(adamw(model)), step),
    "twice": (lambda model: Unhooked(Unhooked(adamw(model))), step),
    "steps by itself": (lambda model: StepsByItself(adamw(model)), step),
    "groups of its own": (lambda model: CopiesGroups(adamw(model)), step),
    "points back": (lambda model: PointsBack(adamw(model)), step),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
