"""The type that each key of a parameter group must have, checked before anything computes with its value."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from torch import Tensor

NOTHING_CHANGED, NO_WEIGHT_CHANGED = "Nothing has changed", "This step has changed no weight"


class KeyType(NamedTuple):
    """What the value of a key may be.

    Attributes:
        accepts: Whether a value is of the type. The entries of tensors are not read, which would wait for the device.
        legal: What the value must be, for the error.
    """

    accepts: Callable[[Any], bool]
    legal: str


def is_number(value: Any) -> bool:
    """Return whether a value is a real number of Python or NumPy, or a real 0-d tensor."""
    if type(value) is float:
        # Checking against the abstract classes takes ten times as long.
        return True
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex()
    return isinstance(value, Real)


def is_pair(value: Any) -> bool:
    """Return whether a value is a tuple or a list of two numbers."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))


def as_pair(value: Any) -> Any:
    """Return a tuple for a pair that another package holds in another form (a list of OmegaConf, an array, a tensor).

    >>> as_pair([0.9, 0.99]), as_pair(0.9), as_pair("ab")
    ((0.9, 0.99), 0.9, 'ab')
    """
    has_order = isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1
    return value if isinstance(value, str | bytes) or not has_order else tuple(value)


def require_types(group: Mapping[str, Any], where: str = "", remedy: str = NOTHING_CHANGED) -> None:
    """Raise ValueError unless the value of each key of a group is of the type in `KEY_TYPES`.

    Args:
        group: A group, or some of its keys.
        where: The group for the error, such as " of group 1".
        remedy: A sentence with which the error ends.
    """
    for key, (accepts, legal) in KEY_TYPES.items():
        if key in group and not accepts(group[key]):
            raise ValueError(
                f"{key}{where} is {described(group[key])}; it must be {legal}{_hint(group[key])}. {remedy}"
            )


def require_number(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a number, or a tensor of one."""
    if not is_number(value):
        legal = f"it must be a number, or a real 0-d tensor{_hint(value)}"
        raise ValueError(f"{name} is {described(value)}; {legal}. {NOTHING_CHANGED}")


def described(value: Any) -> str:
    """Return a value as text for an error; a tensor or an array is described by its shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "a tensor" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
        return f"{kind} of shape {tuple(value.shape)} and {value.dtype}"
    return repr(value)


def _hint(value: Any) -> str:
    if isinstance(value, str):
        return ". Strings are not converted; YAML reads 1e-4 as a string and 1.0e-4 as a number"
    return (
        ". Use value.item() to get the number from a single entry" if getattr(value, "size", None) is not None else ""
    )


def _is_flag(value: Any) -> bool:
    # NumPy has a bool of its own; JSON and command lines have 0 and 1.
    return type(value).__name__ in ("bool", "bool_") or (type(value) is int and 0 <= value <= 1)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(kind: KeyType) -> KeyType:
    return KeyType(lambda value: value is None or kind.accepts(value), f"{kind.legal}, or None")


NUMBER = KeyType(is_number, "in [0, inf), as a number or a real 0-d tensor")
SHARE = KeyType(is_number, "in [0, 1), as a number or a real 0-d tensor")
NUMBERS = KeyType(lambda value: is_number(value) or is_pair(value), "a number in [0, 1), or two in a tuple for Lion")
PAIR = KeyType(is_pair, "two numbers in [0, 1) in a tuple, such as (0.9, 0.99), each of which may be a 0-d tensor")
FLAG = KeyType(_is_flag, "True or False")
NAME = KeyType(_is_name, "a string")
NAMES = KeyType(lambda value: isinstance(value, tuple | list) and all(map(_is_name, value)), "a list of strings")
# torch accepts nothing else for it.
BOOL = KeyType(lambda value: isinstance(value, bool), "True or False")
NORM = KeyType(
    lambda value: isinstance(value, str | dict) or (not isinstance(value, type) and hasattr(value, "lmo_blocks")),
    "'auto', a name in steadydecay.norms.NORMS, or a Norm",
)
WHOLE = KeyType(lambda value: isinstance(value, Integral), "a whole number")

# The keys of our optimizers and of torch's Adam, and those that our functions and torch's schedulers add.
KEY_TYPES: dict[str, KeyType] = {
    "lr": NUMBER,
    "weight_decay": NUMBER,
    "momentum": SHARE,
    "betas": PAIR,
    "eps": NUMBER,
    "decay": NAME,
    "low_precision": NAME,
    "steady_norm_sq": _or_none(NUMBER),
    **dict.fromkeys(("nesterov", "memory_light", "amsgrad", "maximize", "capturable"), FLAG),
    "differentiable": BOOL,
    "norm": NORM,
    **dict.fromkeys(("foreach", "fused"), _or_none(FLAG)),
    "workspace_bytes": _or_none(WHOLE),
    "reference_lr": _or_none(NUMBER),
    "reference_momentum": _or_none(NUMBERS),
    "reference_weight_decay": NUMBER,
    "reference_is_fixed": FLAG,
    **dict.fromkeys(("max_lr", "initial_lr"), _or_none(NUMBER)),
    **dict.fromkeys(("initial_momentum", "base_momentum"), _or_none(SHARE)),
    "role": _or_none(NAME),
    "param_names": _or_none(NAMES),
}
# The keys that mean the same in the groups of every optimizer. Its betas or eps may have another form.
KEYS_OF_ANY = (
    "lr",
    "weight_decay",
    "decay",
    "steady_norm_sq",
    "reference_lr",
    "reference_momentum",
    "max_lr",
    "initial_lr",
    "base_momentum",
)
