"""Copy a schedule without sharing anything that a call may change, so that running the copy affects nothing else."""

import copy
import random
import sys
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NoReturn, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

# The number of objects beyond which copying a schedule is not worthwhile.
MOST_OBJECTS = 20_000
# Types that a schedule reads and does not write to, and those that may be as large as a training run.
SHARED = (type, ModuleType, nn.Module, DataLoader, Dataset, torch.dtype, torch.device, torch.Size)
LARGEST_TENSOR = 10**5
PLAIN = (int, float, complex, str, bytes, bool, range, type(None), type(Ellipsis))
ITERATORS = (
    "list_iterator",
    "tuple_iterator",
    "range_iterator",
    "zip",
    "enumerate",
    "reversed",
    "list_reverseiterator",
)


@final
class OutOfReachError(RuntimeError):
    """A schedule has used something that cannot be copied: a file, a lock or a generator."""


@final
class OutOfReach:
    """Stands in for something that cannot be copied. A schedule that does not use it can still be asked."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise OutOfReachError("a schedule uses something that cannot be copied")

    __getattr__ = __call__ = __next__ = __iter__ = __len__ = __getitem__ = __setitem__ = __enter__ = __float__ = _refuse
    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __lt__ = __gt__ = (
        _refuse
    )


@final
class Copier:
    """Copies values and everything that they hold. Each object is copied once, so that shared objects stay shared.

    Args:
        stand_in: The optimizer that replaces every optimizer.
    """

    def __init__(self, stand_in: Optimizer) -> None:
        self._stand_in = stand_in
        # Each copy is stored with its original, so that no other object gets the original's id.
        self._known: dict[int, tuple[Any, Any]] = {}

    def copied(self, value: Any) -> Any:
        """Return a copy, or raise OutOfReachError if there is too much to copy."""
        if isinstance(value, Optimizer):
            return self._stand_in
        if type(value) in PLAIN or isinstance(value, SHARED):
            return value
        if id(value) not in self._known:
            if len(self._known) > MOST_OBJECTS:
                raise OutOfReachError("a schedule holds too much to be copied")
            made = self._container(value)
            if made is None:
                made = self._callable(value)
            self._known.setdefault(id(value), (value, self._object(value) if made is None else made))
        return self._known[id(value)][1]

    def _remember(self, value: Any, made: Any) -> Any:
        """Register a copy before it is filled, because its contents may refer to it."""
        self._known[id(value)] = value, made
        return made

    def _container(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Tensor):
            return value if value.numel() > LARGEST_TENSOR else value.detach().clone()
        if kind in (list, deque):
            made = self._remember(value, copy.copy(value))
            for index, one in enumerate(value):
                made[index] = self.copied(one)
            return made
        if kind in (dict, OrderedDict, defaultdict):
            made = self._remember(value, copy.copy(value))
            for key, one in value.items():
                made[key] = self.copied(one)
            return made
        if kind in (tuple, set, frozenset):
            return kind(self.copied(one) for one in value)
        return kind(*map(self.copied, value)) if isinstance(value, tuple) and hasattr(value, "_fields") else None

    def _callable(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return MethodType(value.__func__, self.copied(value.__self__))
        if isinstance(value, BuiltinMethodType):
            is_of_object = value.__self__ is not None and not isinstance(value.__self__, ModuleType)
            return getattr(self.copied(value.__self__), value.__name__) if is_of_object else value
        if type(value) is partial:
            return partial(self.copied(value.func), *self.copied(value.args), **self.copied(value.keywords))
        return None

    def _function(self, function: FunctionType) -> FunctionType:
        """Copy a function with its cells, its defaults and the globals that it uses."""
        cells = tuple(CellType() for _ in function.__closure__ or ())
        names = dict(function.__globals__)
        made = FunctionType(function.__code__, names, function.__name__, None, cells)
        self._remember(function, made)
        for cell, old in zip(cells, function.__closure__ or (), strict=True):
            # A cell is empty if its variable is not bound yet.
            if old != CellType():
                cell.cell_contents = self.copied(old.cell_contents)
        used = {name: names[name] for name in _names_in(function.__code__) if name in names}
        names |= {name: self.copied(one) for name, one in used.items() if not _is_imported(one, function)}
        made.__defaults__ = self.copied(function.__defaults__)
        made.__kwdefaults__ = self.copied(function.__kwdefaults__)
        made.__dict__.update(self.copied(vars(function)))
        return made

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if kind.__module__ == "itertools" or kind.__name__ in ITERATORS or _is_of_numbers(value):
            return _deep_copied(value)
        if hasattr(kind, "__del__") or not hasattr(value, "__dict__"):
            return OutOfReach()
        try:
            made = self._remember(value, SimpleNamespace() if kind is SimpleNamespace else object.__new__(kind))
        except TypeError:
            return OutOfReach()
        vars(made).update({name: self.copied(one) for name, one in vars(value).items()})
        return made


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the generators of torch, Python and NumPy afterwards, because a schedule may draw random numbers."""
    numpy: Any = sys.modules.get("numpy")
    of_python, of_numpy = random.getstate(), numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(of_python)
            if numpy:
                numpy.random.set_state(of_numpy)


def _names_in(code: CodeType) -> set[str]:
    """Return the names of globals and attributes in a function and in functions inside it."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _is_imported(value: Any, function: FunctionType) -> bool:
    """Return whether a value comes from another module; following the functions of libraries would never end."""
    return isinstance(value, FunctionType) and value.__globals__ is not function.__globals__


def _is_of_numbers(value: Any) -> bool:
    """Return whether a value is an array or a generator of random numbers."""
    return isinstance(value, random.Random) or type(value).__module__.partition(".")[0] == "numpy"


def _deep_copied(value: Any) -> Any:
    try:
        with warnings.catch_warnings():
            # Python is going to remove copies of itertools.
            warnings.simplefilter("ignore")
            return copy.deepcopy(value)
    except Exception:
        return OutOfReach()
