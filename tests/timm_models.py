"""timm's models, without the torchvision that its package imports and its model classes do not need.

PyPI's torchvision does not fit the build of torch for CPUs, so empty modules stand for it while timm is imported.
"""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

NAMES = ("", ".datasets", ".models", ".models.feature_extraction", ".ops", ".ops.misc")
NAMES += (".transforms", ".transforms.functional")


class _Anything(type):
    """A class whose every attribute is such a class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Standin(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


@cache
def timm_models() -> Any:
    """The module `timm.models`; torchvision counts as missing again after the import."""
    standins = {f"torchvision{name}": _Standin(f"torchvision{name}") for name in NAMES}
    before = {name: module for name, module in sys.modules.items() if name in standins}
    # tests/known_optimizers imports timm's optimizers into an empty package of its name.
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        del sys.modules[name]
    sys.modules.update(standins)
    try:
        return import_module("timm.models")
    finally:
        for name in standins:
            del sys.modules[name]
        sys.modules.update(before)
