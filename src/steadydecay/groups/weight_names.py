"""How errors name a weight, and the weights of a group that has not been added yet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor


def as_list(params: Any) -> list[Any]:
    """Return the parameters of a group as a list: from a tensor, from tensors, or from pairs of name and tensor.

    Raises:
        TypeError: It is a set, whose order differs from run to run, or not a collection.
    """
    if isinstance(params, set):
        raise TypeError(
            "params is a set; it must be an ordered collection such as a list, because state is stored by position"
        )
    if not isinstance(params, Iterable):
        raise TypeError(
            f"params is {params!r}; it must be a tensor, or a list of tensors or of pairs of name and tensor"
        )
    return [params] if isinstance(params, Tensor) else list(params)


def weight_names(group: Mapping[str, Any], index: int | None = None) -> Iterator[str]:
    """Yield how to refer to each parameter of a group: by its name if it has one, or else by its position, with its
    shape.

    Args:
        group: A group whose `params` are a list of tensors, or of pairs of name and tensor.
        index: The index of the group, if it is known.

    >>> list(weight_names({"params": [("head.weight", Tensor(2, 3)), Tensor(4)]}, 1))
    ["parameter 'head.weight' of shape (2, 3)", 'parameter 1 of group 1, of shape (4,)']
    """
    names, where = group.get("param_names") or (), "its group" if index is None else f"group {index}"
    for position, entry in enumerate(group["params"]):
        name, weight = entry if isinstance(entry, tuple) else (None, entry)
        name = names[position] if name is None and position < len(names) else name
        shape = tuple(getattr(weight, "shape", ()))
        yield (
            f"parameter {position} of {where}, of shape {shape}"
            if name is None
            else (f"parameter {name!r} of shape {shape}")
        )


def names_in_records(group: Mapping[str, Any], index: int) -> Sequence[str]:
    """Return the names under which a group's parameters are reported: their own, or else "group_<index>.<position>".

    >>> names_in_records({"params": [Tensor(2), Tensor(3)]}, 1)
    ['group_1.0', 'group_1.1']
    """
    names, count = group.get("param_names") or (), len(group["params"])
    return names if len(names) == count else [f"group_{index}.{position}" for position in range(count)]
