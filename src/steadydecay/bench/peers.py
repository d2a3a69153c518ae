"""The optimizers to measure, each from its package and with five steps of the iteration on every matrix.

Optimizers of Scion's family use the sign on tables, and those of Muon's family AdamW on tables and vectors. To add
one, add an entry to `CONTESTANTS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from steadydecay.bench.contender_weights import ModelWeights
from steadydecay.norms import NormSpec
from steadydecay.optim.adamc import AdamC
from steadydecay.optim.lion import Lion
from steadydecay.optim.scion import ScionC
from steadydecay.polar.forms import FORMS

LR = 1e-3
WEIGHT_DECAY = 0.1
STEPS = 5
REFERENCE = "scionc"
Optimizers = list[torch.optim.Optimizer]


@final
@dataclass(frozen=True)
class Contestant:
    """One optimizer.

    Args:
        module: The module that is imported and passed to `make`.
        make: Maps (module, weights) to optimizers whose steps together are one step of the model.
        distribution: The name of the package for installation.
        is_spectral: Whether it orthogonalises matrices.
        form: The form of the polar factor that our own optimizer is forced to use.
        is_shared: Whether threads share each product of our own optimizer, instead of each having its own.
        writes_gradients: Whether it writes to its gradients and so needs its own.
        not_on_cpu: The reason why it is measured only on GPUs, if it is.
    """

    module: str
    make: Callable[[Any, ModelWeights], Optimizers]
    distribution: str
    is_spectral: bool = True
    form: str | None = None
    is_shared: bool = False
    writes_gradients: bool = False
    not_on_cpu: str = ""


def groups(*given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the groups that are not empty."""
    return [group for group in given if group["params"]]


def scionc(_: Any, weights: ModelWeights, norm_of_matrices: NormSpec = "spectral", **arguments: Any) -> Optimizers:
    """Build ScionC with groups as `sd.param_groups` makes them."""
    by_role = groups(
        {"params": weights.matrices, "role": "hidden", "norm": norm_of_matrices},
        {"params": weights.tables, "role": "output"},
        {"params": weights.vectors, "role": "vector"},
    )
    return [ScionC(by_role, lr=LR, weight_decay=WEIGHT_DECAY, **arguments)]


def adamc(_: Any, weights: ModelWeights, **arguments: Any) -> Optimizers:
    return [AdamC(weights.every(), lr=LR, weight_decay=WEIGHT_DECAY, **arguments)]


def lion(_: Any, weights: ModelWeights) -> Optimizers:
    return [Lion(weights.every(), lr=LR, weight_decay=WEIGHT_DECAY)]


def torch_adamw(_: Any, weights: ModelWeights, **arguments: Any) -> Optimizers:
    return [torch.optim.AdamW(weights.every(), lr=LR, weight_decay=WEIGHT_DECAY, **arguments)]


def fused_adamw(rest: list[Tensor]) -> Optimizers:
    return [torch.optim.AdamW(rest, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)] if rest else []


def torch_muon(_: Any, weights: ModelWeights) -> Optimizers:
    muon = torch.optim.Muon(weights.matrices, lr=LR, weight_decay=WEIGHT_DECAY, ns_steps=STEPS)
    return [muon, *fused_adamw(weights.tables + weights.vectors)]


def pytorch_optimizer_scion(package: Any, weights: ModelWeights) -> Optimizers:
    norms = package.optimizer.scion.LMONorm
    by_norm = groups(
        {"params": weights.matrices, "norm_type": norms.SPECTRAL, "norm_kwargs": {"num_steps": STEPS}},
        {"params": weights.tables, "norm_type": norms.SIGN},
        {"params": weights.vectors, "norm_type": norms.BIAS},
    )
    return [package.SCION(by_norm, lr=LR, weight_decay=WEIGHT_DECAY)]


def pytorch_optimizer_muon(package: Any, weights: ModelWeights, **arguments: Any) -> Optimizers:
    by_use = groups(
        {"params": weights.matrices, "use_muon": True, "lr": LR, "weight_decay": WEIGHT_DECAY},
        {"params": weights.tables + weights.vectors, "use_muon": False, "lr": LR, "weight_decay": WEIGHT_DECAY},
    )
    return [package.Muon(by_use, ns_steps=STEPS, **arguments)]


def heavyball_scion(package: Any, weights: ModelWeights) -> Optimizers:
    """Build heavyball's Scion. It has no sign, so everything that is not a vector is orthogonalised."""
    scion = package.Scion(weights.matrices + weights.vectors, lr=LR, weight_decay=WEIGHT_DECAY)
    return [scion, *fused_adamw(weights.tables)]


def heavyball_muon(package: Any, weights: ModelWeights) -> Optimizers:
    muon = package.Muon(weights.matrices, lr=LR, weight_decay=WEIGHT_DECAY)
    return [muon, *fused_adamw(weights.tables + weights.vectors)]


def emerging_scion(package: Any, weights: ModelWeights) -> Optimizers:
    """Build Emerging-Optimizers' Scion, whose decay is 1 and which accepts only matrices."""
    scion = package.Scion(weights.matrices, lr=LR, num_ns_steps=STEPS)
    return [scion, *fused_adamw(weights.tables + weights.vectors)]


def emerging_muon(package: Any, weights: ModelWeights) -> Optimizers:
    muon = package.Muon(weights.matrices, lr=LR, weight_decay=WEIGHT_DECAY, num_ns_steps=STEPS)
    return [muon, *fused_adamw(weights.tables + weights.vectors)]


def dion(package: Any, weights: ModelWeights, name: str) -> Optimizers:
    """Build an optimizer of dion, never with flatten=True, which on one device gives a wrong update without an
    error."""
    by_algorithm = groups(
        {"params": weights.matrices, "algorithm": name.lower()},
        {"params": weights.tables + weights.vectors, "algorithm": "adamw"},
    )
    return [getattr(package, name)(by_algorithm, lr=LR, weight_decay=WEIGHT_DECAY, flatten=False)]


OURS = partial(Contestant, "steadydecay", distribution="steadydecay")
TORCH = partial(Contestant, "torch", distribution="torch")
PYTORCH_OPTIMIZER = partial(Contestant, "pytorch_optimizer", distribution="pytorch_optimizer")
HEAVYBALL = partial(Contestant, "heavyball", distribution="heavyball")
EMERGING = partial(Contestant, "emerging_optimizers.orthogonalized_optimizers", distribution="emerging-optimizers")
DION = partial(Contestant, "dion", distribution="dion")

CONTESTANTS: dict[str, Contestant] = {
    REFERENCE: OURS(scionc),
    "scionc-shared": OURS(scionc, is_shared=True),
    **{f"scionc-{form}": OURS(scionc, form=form) for form in FORMS},
    "scionc-triton": OURS(
        partial(scionc, norm_of_matrices={"name": "spectral", "products": "triton"}),
        not_on_cpu="its kernel is for GPUs",
    ),
    "scionc-memory-light": OURS(partial(scionc, memory_light=True), writes_gradients=True),
    "pytorch-optimizer-scion": PYTORCH_OPTIMIZER(pytorch_optimizer_scion),
    "pytorch-optimizer-muon": PYTORCH_OPTIMIZER(pytorch_optimizer_muon, writes_gradients=True),
    "pytorch-optimizer-muon-gram": PYTORCH_OPTIMIZER(
        partial(pytorch_optimizer_muon, ns_method="gram_newton_schulz"),
        writes_gradients=True,
        not_on_cpu="its products are in float16, which is slow on every CPU",
    ),
    "torch-muon": TORCH(torch_muon),
    "heavyball-scion": HEAVYBALL(heavyball_scion),
    "heavyball-muon": HEAVYBALL(heavyball_muon),
    "emerging-scion": EMERGING(emerging_scion),
    "emerging-muon": EMERGING(emerging_muon),
    "dion-muon": DION(partial(dion, name="Muon")),
    "dion-normuon": DION(partial(dion, name="NorMuon")),
    "adamc": OURS(adamc, is_spectral=False),
    "adamc-fused": OURS(partial(adamc, fused=True), is_spectral=False),
    "adamc-foreach": OURS(partial(adamc, foreach=True), is_spectral=False),
    "lion": OURS(lion, is_spectral=False),
    "torch-adamw-fused": TORCH(partial(torch_adamw, fused=True), is_spectral=False),
    "torch-adamw-foreach": TORCH(partial(torch_adamw, foreach=True), is_spectral=False),
}
