"""Real optimizers of every package that can be installed here, built alike, and what noise shows of them."""

import sys
import types
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

LR, WEIGHT_DECAY = 0.01, 0.5
SHAPE = (16, 24)
Build = Callable[[list[nn.Parameter], float, float, float], Optimizer]


class RealOptimizer(NamedTuple):
    """One row.

    Attributes:
        name: package and class.
        build: (parameters, lr, weight decay, β or β₁) -> the optimizer.
    """

    name: str
    build: Build


class Noise(NamedTuple):
    """What an optimizer did under independent Gaussian gradients.

    Attributes:
        optimizer: after the run.
        parameter: the one that it moved.
        gradients, updates: of each step, (steps, *SHAPE), in float64; θ ← θ - γu.
    """

    optimizer: Optimizer
    parameter: nn.Parameter
    gradients: Tensor
    updates: Tensor


def class_of(package: str, name: str) -> Any:
    """A class of an installed package.

    timm's package imports its model zoo, which needs torchvision, of which there is no build for this torch; its
    optimizers do not, so their folder is imported without the packages around it.
    """
    if package == "timm" and "timm" not in sys.modules:
        spec = find_spec("timm")
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent
        for module, path in (("timm", folder), ("timm.optim", folder / "optim")):
            sys.modules[module] = types.ModuleType(module)
            sys.modules[module].__path__ = [str(path)]
    if package == "heavyball":
        import_module("heavyball").utils.compile_mode = None
    home = {"torch": "torch.optim", "transformers": "transformers.optimization"}.get(package, package)
    if package == "timm":
        home = f"timm.optim.{MODULES_OF_TIMM[name]}"
    return getattr(import_module(home), name)


MODULES_OF_TIMM = {
    "AdaBelief": "adabelief",
    "AdafactorBigVision": "adafactor_bv",
    "AdamWLegacy": "adamw",
    "Adopt": "adopt",
    "LaProp": "laprop",
    "Lion": "lion",
    "Lookahead": "lookahead",
    "Muon": "muon",
    "NAdamW": "nadamw",
    "SGDW": "sgdw",
}


def row(package: str, name: str, momentum: Callable[[float], dict[str, Any]], **arguments: Any) -> RealOptimizer:
    def build(parameters: list[nn.Parameter], lr: float, weight_decay: float, beta: float) -> Optimizer:
        own = momentum(beta) | arguments
        return class_of(package, name)(parameters, lr=lr, weight_decay=weight_decay, **own)

    suffix = "".join(f", {key}={value}" for key, value in arguments.items())
    return RealOptimizer(f"{package}.{name}{suffix}", build)


def group_row(package: str, name: str, momentum: Callable[[float], dict[str, Any]], **keys: Any) -> RealOptimizer:
    """For pytorch_optimizer's Muons, whose groups say what they are."""

    def build(parameters: list[nn.Parameter], lr: float, weight_decay: float, beta: float) -> Optimizer:
        group = {"params": parameters, "lr": lr, "weight_decay": weight_decay, **keys}
        return class_of(package, name)([group], **momentum(beta))

    return RealOptimizer(f"{package}.{name}, {keys}", build)


def betas(second: float) -> Callable[[float], dict[str, Any]]:
    return lambda beta: {"betas": (beta, second)}


def in_keys(first: str, second: float) -> Callable[[float], dict[str, Any]]:
    return lambda beta: {first: (beta, second)}


def momentum(beta: float) -> dict[str, Any]:
    return {"momentum": beta}


def none(beta: float) -> dict[str, Any]:
    return {}


ADAMS = [
    row("torch", "AdamW", betas(0.99)),
    row("torch", "AdamW", betas(0.99), amsgrad=True),
    row("torch", "Adam", betas(0.99), decoupled_weight_decay=True),
    row("torch", "RAdam", betas(0.9), decoupled_weight_decay=True),
    row("steadydecay", "AdamC", betas(0.99), decay="constant"),
    row("timm", "AdamWLegacy", betas(0.99)),
    row("timm", "NAdamW", betas(0.99)),
    row("timm", "AdaBelief", betas(0.99), rectify=False),
    row("timm", "LaProp", betas(0.99)),
    row("timm", "Adopt", betas(0.99), decoupled=True),
    row("pytorch_optimizer", "StableAdamW", betas(0.99)),
    row("pytorch_optimizer", "AdaBelief", betas(0.99)),
    row("pytorch_optimizer", "LaProp", betas(0.99)),
    row("pytorch_optimizer", "ADOPT", betas(0.99), weight_decouple=True),
    row("pytorch_optimizer", "AdamC", betas(0.99)),
    row("heavyball", "AdamW", betas(0.99)),
    row("heavyball", "LaProp", betas(0.99)),
    row("optimi", "AdamW", lambda beta: {"betas": (beta, 0.99)}),
    row("optimi", "RAdam", lambda beta: {"betas": (beta, 0.9)}, decouple_lr=False),
]
MUONS = [
    row("torch", "Muon", momentum),
    row("torch", "Muon", momentum, nesterov=False),
    row("torch", "Muon", momentum, adjust_lr_fn="match_rms_adamw"),
    row("timm", "Muon", momentum, nesterov=False),
    row("timm", "Muon", momentum, nesterov=True, adjust_lr_fn="original"),
    row("timm", "Muon", momentum, adjust_lr_fn="rms_to_rms"),
    group_row("pytorch_optimizer", "Muon", momentum, use_muon=True),
    group_row("pytorch_optimizer", "Muon", momentum, use_muon=True, nesterov=False, use_adjusted_lr=True),
    row("heavyball", "Muon", betas(0.99), nesterov=False),
]
SCIONS = [
    row("steadydecay", "Scion", momentum, norm="spectral"),
    row("steadydecay", "Scion", momentum, norm="sign", nesterov=True),
    row("pytorch_optimizer", "SCION", lambda beta: {"momentum": 1 - beta}),
]
LIONS = [
    row("steadydecay", "Lion", betas(0.99)),
    row("timm", "Lion", betas(0.99)),
    row("pytorch_optimizer", "Lion", betas(0.99)),
    row("optimi", "Lion", betas(0.99)),
]
SUMS = [
    row("torch", "SGD", momentum),
    row("torch", "SGD", momentum, nesterov=True),
    row("steadydecay", "SGDW", momentum),
    row("timm", "SGDW", momentum),
    row("pytorch_optimizer", "SGDW", momentum),
]
# Their decay is tried; their momentum is none that a filter describes, or their size is something else's.
OTHERS = [
    row("torch", "SGD", none),
    row("torch", "Adam", betas(0.99)),
    row("torch", "NAdam", betas(0.99), decoupled_weight_decay=True),
    row("torch", "Adagrad", none),
    row("torch", "Adadelta", none),
    row("torch", "Adamax", betas(0.99)),
    row("torch", "RMSprop", momentum),
    row("torch", "ASGD", none),
    row("torch", "Adafactor", none),
    row("transformers", "Adafactor", none, relative_step=False, scale_parameter=False),
    row("timm", "AdafactorBigVision", none),
    row("pytorch_optimizer", "AdaFactor", none, relative_step=False, scale_parameter=False),
    row("pytorch_optimizer", "SOAP", betas(0.95)),
    group_row("pytorch_optimizer", "NorMuon", none, use_muon=True),
    group_row("pytorch_optimizer", "AdaMuon", none, use_muon=True),
    row("heavyball", "NAdam", betas(0.99), decoupled_weight_decay=True),
    row("heavyball", "SOAP", betas(0.95)),
    row("heavyball", "AdamC", betas(0.99), max_lr=LR),
    row("optimi", "Adam", betas(0.99)),
    row("optimi", "AdamW", betas(0.99)),
]
REAL_OPTIMIZERS = [*ADAMS, *MUONS, *SCIONS, *LIONS, *SUMS]


def parameter_of(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)))


def noise(real: RealOptimizer, beta: float, steps: int = 400, change: Callable[[Any], None] | None = None) -> Noise:
    """A run without decay; `change` may alter the group before it."""
    parameter = parameter_of()
    optimizer = real.build([parameter], LR, 0.0, beta)
    if change is not None:
        change(optimizer.param_groups[0])
    gradients = torch.randn(steps, *SHAPE, generator=torch.Generator().manual_seed(1))
    path = [parameter.detach().clone()]
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        path.append(parameter.detach().clone())
    weights = torch.stack(path).double()
    return Noise(optimizer, parameter, gradients.double(), (weights[:-1] - weights[1:]) / LR)


def decayed(real: RealOptimizer, lr: float, weight_decay: float) -> Tensor:
    """The weight after one step from `parameter_of()`."""
    parameter = parameter_of()
    optimizer = real.build([parameter], LR, weight_decay, 0.5)
    optimizer.param_groups[0]["lr"] = lr
    # Some make their state in a first step that moves nothing.
    for seed in (1, 2):
        with torch.no_grad():
            parameter.copy_(parameter_of())
        parameter.grad = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
    return parameter.detach()
