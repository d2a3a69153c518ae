"""Make an optimizer of your own known to everything that reads the table."""

from typing import Literal, get_args

from torch.optim import Optimizer

from steadydecay.known_optimizers.known_optimizer import DecayAction, KnownOptimizer, SizedBy
from steadydecay.known_optimizers.table import register
from steadydecay.known_optimizers.update_momentum import (
    NO_MOMENTUM,
    UpdateMomentum,
    average_in,
    lion_in,
    plain_average,
    share_in,
    sum_in,
)

# What the group key holds: β of an average, the share 1-β that the new gradient has in it, or β of a sum.
Convention = Literal["average", "share", "sum"]
MomentumKey = str | tuple[str, int] | tuple[str, str] | None


def register_optimizer(
    optimizer_class: type[Optimizer],
    *,
    sized_by: SizedBy,
    momentum: MomentumKey = "momentum",
    convention: Convention = "average",
    decay: DecayAction = "decoupled",
    momentum_state: str = "",
) -> KnownOptimizer:
    """Tell the correction, the schedules, the monitor and the forecasts how an optimizer works.

    The entry also holds for derived classes, and it replaces an earlier entry of the class. Call this before
    `sd.correct_weight_decay`, `sd.watch` or `sd.EffectiveLR` is given the optimizer.

    Args:
        optimizer_class: A class derived from torch.optim.Optimizer whose groups have `lr` and `weight_decay`.
        sized_by: What determines the size of an update: the "sign" of each entry, the "polar factor" of each matrix,
            the "second moment" of each entry (Adam), the "norm" that the group names under `norm`, or the "gradient"
            itself (SGD).
        momentum: The group key that holds the momentum in [0, 1). ("betas", 0) stands for the first of several numbers
            under one key, and ("beta1", "beta2") for Lion's two under two keys. None means that momentum does not set
            the size of summed updates (Adam).
        convention: What that key holds: "average" is β of m ← βm + (1-β)g (PyTorch's 0.9), "share" is the share of the
            new gradient (the 0.1 of papers), and "sum" is β of b ← βb + g (torch's SGD).
        decay: How `weight_decay` acts; "decoupled" is θ ← (1 - lr · weight_decay) θ.
        momentum_state: The name of the state tensor that holds the momentum, for the monitor.

    Returns:
        The entry as `steadydecay.known_optimizers.table` holds it.

    Raises:
        TypeError: `optimizer_class` is not a class derived from torch.optim.Optimizer.
        ValueError: Another argument is not one of the values above. Nothing has changed.

    >>> import torch
    >>> class MySign(torch.optim.SGD):
    ...     pass
    >>> register_optimizer(MySign, sized_by="sign", momentum="beta").of({"beta": 0.5})
    MomentumFilter(carry=0.5, decay=0.5, scale_sq=1.0)
    """
    if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)):
        is_class = isinstance(optimizer_class, type)
        given = optimizer_class.__name__ if is_class else f"an object of {type(optimizer_class).__name__}"
        raise TypeError(f"optimizer_class is {given}; it must be a class derived from torch.optim.Optimizer")
    _require_word("sized_by", sized_by, get_args(SizedBy))
    _require_word("convention", convention, get_args(Convention))
    _require_word("decay", decay, get_args(DecayAction))
    known = KnownOptimizer(
        title=optimizer_class.__name__,
        sized_by=sized_by,
        momentum=_update_momentum(momentum, convention, sized_by),
        decay=decay,
        momentum_state=momentum_state,
        momentum_state_holds="sum" if convention == "sum" else "average",
        instead="an optimizer whose decay is decoupled",
    )
    register(optimizer_class, known)
    return known


def _update_momentum(key: MomentumKey, convention: Convention, sized_by: SizedBy) -> UpdateMomentum:
    found = _in_convention(key, convention)
    # An average of gradients that is not normalised adds γ in all, whatever its momentum is.
    return plain_average(found) if sized_by == "gradient" and convention != "sum" and key is not None else found


def _in_convention(key: MomentumKey, convention: Convention) -> UpdateMomentum:
    match key, convention:
        case None, _:
            return NO_MOMENTUM
        case (str(first), str(second)), "average":
            return lion_in(first, second)
        case (str(name), int(index)), "average":
            return average_in(name, index)
        case str(name), "average":
            return average_in(name)
        case str(name), "share":
            return share_in(name)
        case str(name), "sum":
            return sum_in(name)
    legal = "a key, (key, index), (first key, second key) or None, and a tuple needs convention='average'"
    raise ValueError(f"momentum is {key!r} with convention={convention!r}; it must be {legal}")


def _require_word(name: str, value: object, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, legal))}")
