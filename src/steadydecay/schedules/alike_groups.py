"""Find groups whose schedules are alike, so that asking one of them is enough."""

from collections.abc import Sequence
from types import CellType, FunctionType
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from steadydecay.groups.settings import Group

# The attributes in which torch's schedulers keep one entry for each group.
OF_EACH_GROUP = (
    "base_lrs",
    "_last_lr",
    "lr_lambdas",
    "max_lrs",
    "min_lrs",
    "base_momentums",
    "max_momentums",
    "initial_lrs",
)
NO_SETTINGS = ("params", "param_names", "name", "role")


def leave_one_of_each_kind(groups: list[Group], schedulers: Sequence[LRScheduler]) -> list[int]:
    """Remove all groups but the first of each kind from the list, and from what the schedulers keep for each group.

    Args:
        groups: The groups of the optimizer of all the schedulers.
        schedulers: Copies of schedulers, which are changed.

    Returns:
        The index in the shortened list that stands for each group. Nothing is removed if a scheduler keeps something
        else with as many entries as there are groups.
    """
    count = len(groups)
    lists = [
        (scheduler, name) for scheduler in schedulers for name in vars(scheduler) if _is_long(scheduler, name, count)
    ]
    if count < 2 or any(name not in OF_EACH_GROUP for _, name in lists):
        return list(range(count))
    columns = [getattr(scheduler, name) for scheduler, name in lists]
    kinds = [(_settings(group), *map(_known_by, row)) for group, *row in zip(groups, *columns, strict=True)]
    places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    firsts = {places[kind]: index for index, kind in reversed(list(enumerate(kinds)))}
    kept = [firsts[place] for place in range(len(places))]
    for scheduler, name in lists:
        values = getattr(scheduler, name)
        setattr(scheduler, name, type(values)(values[index] for index in kept))
    groups[:] = [groups[index] for index in kept]
    return [places[kind] for kind in kinds]


def _is_long(scheduler: LRScheduler, name: str, count: int) -> bool:
    value = getattr(scheduler, name)
    return isinstance(value, list | tuple) and len(value) == count


def _settings(group: Group) -> str:
    return repr([(key, value) for key, value in group.items() if key not in NO_SETTINGS])


def _known_by(value: Any, depth: int = 2) -> Any:
    """Return a key that is equal for values that do the same: equal numbers, or functions of equal code over these."""
    # A function may refer to itself.
    if isinstance(value, FunctionType) and depth:
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        held = (*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *vars(value).values())
        return id(value.__code__), tuple(_known_by(one, depth - 1) for one in held)
    return repr(value) if isinstance(value, int | float | str | Tensor) else id(value)
