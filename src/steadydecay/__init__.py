"""Steady weight norms under any schedule (arXiv 2512.08217). Names load on first use; the theory needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steadydecay.public_names import HOMES, ROOMS, loaded

if TYPE_CHECKING:
    from steadydecay import norms, theory
    from steadydecay.correction.weight_decay_correction import correct_weight_decay
    from steadydecay.groups.param_groups import describe, init_, param_groups
    from steadydecay.known_optimizers.registration import register_optimizer
    from steadydecay.monitor.watch import watch
    from steadydecay.optim.adamc import AdamC
    from steadydecay.optim.lion import Lion
    from steadydecay.optim.renormalized_adamw import RenormalizedAdamW
    from steadydecay.optim.scion import Scion, ScionC
    from steadydecay.optim.sgdw import SGDW
    from steadydecay.optim.skip_nonfinite import skip_nonfinite
    from steadydecay.schedules.effective_lr import EffectiveLR
    from steadydecay.schedules.steady_norm import SteadyNorm

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
    "register_optimizer",
    "skip_nonfinite",
    "theory",
    "watch",
]


def __getattr__(name: str) -> Any:
    return import_module(f"steadydecay.{name}") if name in ROOMS else loaded(name, HOMES, __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
