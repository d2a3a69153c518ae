"""Select the groups of an optimizer that a function applies to."""

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Where = int | str | Sequence[int] | Sequence[str] | Callable[[Mapping[str, Any]], Any] | None


def selected_groups(groups: Sequence[Mapping[str, Any]], where: Where) -> list[int]:
    """Return the indices of the groups that `where` selects, in order.

    Args:
        groups: An optimizer's `param_groups`.
        where: An index in [0, number of groups) or several, a role or several, a predicate of a group, or None for
            every group except those with role "output".

    Raises:
        ValueError: Nothing is selected, an index is out of range, or no group has the role.
        TypeError: `where` is of another type.
    """
    if where is None:
        selected = [index for index, group in enumerate(groups) if group.get("role") != "output"]
    elif callable(where):
        selected = [index for index, group in enumerate(groups) if where(group)]
    else:
        wanted = _several(where)
        selected = sorted({index for item in wanted for index in _indices(groups, item)})
    if not selected:
        raise ValueError(
            f"where is {where!r}, which selects no group; it must select one or more, and {_what_there_is(groups)}"
        )
    return selected


def warn_without_roles(groups: Sequence[Mapping[str, Any]], selected: Sequence[int], stacklevel: int) -> None:
    """Warn once if no group has a role, because nothing then tells which group is the output layer."""
    if any(group.get("role") is not None for group in groups):
        return
    names = ", ".join(_name(groups[index], index) for index in selected)
    warnings.warn(
        f"no group has a role, so nothing tells which one is the output layer, whose decay should stay constant "
        f"(arXiv 2512.08217, Appendix D). These groups are corrected: {names}. Give groups a role, as "
        f"steadydecay.param_groups does, or pass where=...",
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
            raise ValueError(
                f"where has the role {item!r}, which no group has; it must be among these: {_what_there_is(groups)}"
            )
        return found
    refusal = f"where has {item!r}; it must be indices, roles, a predicate of a group, or None"
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise TypeError(refusal)
    try:
        index = operator.index(item)
    except TypeError:
        # An array or a tensor with several entries.
        raise TypeError(refusal) from None
    if not 0 <= index < len(groups):
        raise ValueError(f"where has index {index}; it must be in [0, {len(groups)})")
    return [index]


def _what_there_is(groups: Sequence[Mapping[str, Any]]) -> str:
    roles = [group.get("role") for group in groups]
    return f"the roles of the groups are {', '.join(map(repr, roles))}"


def _name(group: Mapping[str, Any], index: int) -> str:
    names = group.get("param_names") or ()
    name = group.get("name") or (f"{names[0]}, ..." if names else f"{len(group['params'])} tensors")
    return f"group {index} ({name})"
