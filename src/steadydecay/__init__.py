"""Steady weight norms under any schedule (arXiv 2512.08217). Names load on first use: the theory needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadydecay import norms, theory
    from steadydecay.groups import describe, init_, param_groups
    from steadydecay.optim.scion import Scion, ScionC

_HOMES = {
    "Scion": "steadydecay.optim.scion",
    "ScionC": "steadydecay.optim.scion",
    "describe": "steadydecay.groups",
    "init_": "steadydecay.groups",
    "param_groups": "steadydecay.groups",
}
_MODULES = ("norms", "theory")

__all__ = ["Scion", "ScionC", "describe", "init_", "norms", "param_groups", "theory"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"steadydecay.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'steadydecay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
