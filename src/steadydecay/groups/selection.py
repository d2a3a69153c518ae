"""Which groups of an optimizer a verb applies to."""

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Where = int | str | Sequence[int] | Sequence[str] | Callable[[Mapping[str, Any]], Any] | None


def selected_groups(groups: Sequence[Mapping[str, Any]], where: Where) -> list[int]:
    """Indices of the groups that `where` names, in order.

    Args:
        groups: an optimizer's `param_groups`.
        where: an index in [0, number of groups) or several; a role or several; a predicate of a group; None for every
            group but those with role "output".

    Raises:
        ValueError: nothing is selected, an index out of range, or a role that no group has.
        TypeError: `where` of another type.
    """
    if where is None:
        selected = [index for index, group in enumerate(groups) if group.get("role") != "output"]
    elif callable(where):
        selected = [index for index, group in enumerate(groups) if where(group)]
    else:
        wanted = _several(where)
        selected = sorted({index for item in wanted for index in _indices(groups, item)})
    if not selected:
        raise ValueError(f"where is {where!r} and selects none of {len(groups)} groups; {_what_there_is(groups)}")
    return selected


def warn_without_roles(groups: Sequence[Mapping[str, Any]], selected: Sequence[int], stacklevel: int) -> None:
    """Warn, once, where no group has a role: then nothing says which is the output layer."""
    if any(group.get("role") is not None for group in groups):
        return
    names = ", ".join(_name(groups[index], index) for index in selected)
    warnings.warn(
        f"no group has a role, so nothing says which is the output layer, whose decay should stay constant "
        f"(arXiv 2512.08217, Appendix D); correcting {names}. Give groups a role (steadydecay.param_groups does), or "
        f"say where=...",
        stacklevel=stacklevel,
    )


def _several(where: Any) -> list[Any]:
    if isinstance(where, str) or hasattr(where, "__index__") or not isinstance(where, Iterable):
        return [where]
    return list(where)


def _indices(groups: Sequence[Mapping[str, Any]], item: Any) -> list[int]:
    if isinstance(item, str):
        found = [index for index, group in enumerate(groups) if group.get("role") == item]
        if not found:
            raise ValueError(f"where names role {item!r}, which no group has; {_what_there_is(groups)}")
        return found
    refusal = f"where has {item!r}; legal are indices, roles, a predicate of a group, or None"
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise TypeError(refusal)
    try:
        index = operator.index(item)
    except TypeError:
        # An array or a tensor of several.
        raise TypeError(refusal) from None
    if not 0 <= index < len(groups):
        raise ValueError(f"where has index {index}; legal is [0, {len(groups)})")
    return [index]


def _what_there_is(groups: Sequence[Mapping[str, Any]]) -> str:
    roles = [group.get("role") for group in groups]
    return f"their roles are {', '.join(map(repr, roles))}"


def _name(group: Mapping[str, Any], index: int) -> str:
    names = group.get("param_names") or ()
    name = group.get("name") or (f"{names[0]}, ..." if names else f"{len(group['params'])} tensors")
    return f"group {index} ({name})"
