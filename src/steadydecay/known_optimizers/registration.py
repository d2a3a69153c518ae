"""One call that makes an optimizer of one's own known to everything that reads the table."""

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

# What the group key holds: β of an average, the share 1-β of the new gradient in it, or β of a sum.
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

    Classes derived from it count as it, and a class that is known already is known as this from now on. Call it
    before `sd.correct_weight_decay`, `sd.watch` or `sd.EffectiveLR` sees the optimizer.

    Args:
        optimizer_class: a class whose groups have `lr` and `weight_decay`.
        sized_by: what fixes the size of an update: "sign" of each entry, "polar factor" of each matrix, "second
            moment" of each entry (Adam), "norm" (the group's `norm`), or the "gradient" itself (SGD).
        momentum: the group key that holds the momentum; ("betas", 0) for the first of several numbers under a key;
            ("beta1", "beta2") for Lion's two under two keys; None where momentum does not set the size of summed
            updates (Adam).
        convention: what that key holds: β of an average m ← βm + (1-β)g ("average", PyTorch's 0.9), the share of the
            new gradient ("share", the papers' 0.1), or β of a sum b ← βb + g ("sum", torch's SGD).
        decay: how `weight_decay` acts: "decoupled" is θ ← (1 - lr · weight_decay) θ.
        momentum_state: name of the state tensor that holds the momentum, for the monitor.

    Returns:
        The entry, as `steadydecay.known_optimizers.table` holds it.

    Raises:
        TypeError: not an optimizer class.
        ValueError: an argument that is not one of the words above. Nothing has changed then.

    >>> import torch
    >>> class MySign(torch.optim.SGD):
    ...     pass
    >>> register_optimizer(MySign, sized_by="sign", momentum="beta").of({"beta": 0.5})
    MomentumFilter(carry=0.5, decay=0.5, scale_sq=1.0)
    """
    if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)):
        is_class = isinstance(optimizer_class, type)
        given = optimizer_class.__name__ if is_class else f"an object of {type(optimizer_class).__name__}"
        raise TypeError(f"optimizer_class is {given}; legal is a class derived from torch.optim.Optimizer")
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
    # An average of gradients that nothing normalises adds γ in all, whatever its momentum is.
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
    legal = "a key, (key, index), (first key, second key) or None; a tuple goes with convention='average'"
    raise ValueError(f"momentum is {key!r} with convention={convention!r}; legal is {legal}")


def _require_word(name: str, value: object, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} is {value!r}; legal are {', '.join(map(repr, legal))}")
