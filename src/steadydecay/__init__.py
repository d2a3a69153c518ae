"""Steady weight norms under any schedule (arXiv 2512.08217). Names load on first use: the theory needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadydecay import norms, theory
    from steadydecay.correction import correct_weight_decay
    from steadydecay.effective_lr import EffectiveLR
    from steadydecay.groups import describe, init_, param_groups
    from steadydecay.monitor.watch import watch
    from steadydecay.optim.adamc import AdamC
    from steadydecay.optim.lion import Lion
    from steadydecay.optim.renormalized_adamw import RenormalizedAdamW
    from steadydecay.optim.scion import Scion, ScionC
    from steadydecay.optim.sgdw import SGDW
    from steadydecay.steady_norm import SteadyNorm

_HOMES = {
    "EffectiveLR": "steadydecay.effective_lr",
    "SteadyNorm": "steadydecay.steady_norm",
    "AdamC": "steadydecay.optim.adamc",
    "Lion": "steadydecay.optim.lion",
    "RenormalizedAdamW": "steadydecay.optim.renormalized_adamw",
    "SGDW": "steadydecay.optim.sgdw",
    "Scion": "steadydecay.optim.scion",
    "ScionC": "steadydecay.optim.scion",
    "correct_weight_decay": "steadydecay.correction",
    "describe": "steadydecay.groups",
    "init_": "steadydecay.groups",
    "param_groups": "steadydecay.groups",
    "watch": "steadydecay.monitor.watch",
}
_MODULES = ("norms", "theory")

__all__ = [
    "SGDW",
    "AdamC",
    "EffectiveLR",
    "Lion",
    "RenormalizedAdamW",
    "Scion",
    "ScionC",
    "SteadyNorm",
    "correct_weight_decay",
    "describe",
    "init_",
    "norms",
    "param_groups",
    "theory",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"steadydecay.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'steadydecay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
