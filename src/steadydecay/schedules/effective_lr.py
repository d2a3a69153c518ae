"""A schedule of the effective learning rate through the lr, the momentum, or both."""

from numbers import Integral
from typing import Any, Literal, final, get_args

from torch.optim import Optimizer

from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.table import known_optimizer, why_momentum_is_unknown
from steadydecay.known_optimizers.update_momentum import AVERAGE, UpdateMomentum
from steadydecay.schedules.shape_scheduler import ShapeScheduler, require_initial, required_optimizer, set_in_place
from steadydecay.schedules.shapes import Shape, share_at
from steadydecay.theory import effective_lr
from steadydecay.theory.validation import require_in

Via = Literal["lr", "momentum", "both"]
# The exponent of the share that the lr takes. Momentum takes the rest.
LR_EXPONENT: dict[str, float] = {"lr": 1.0, "momentum": 0.0, "both": 0.5}


def lr_and_momentum(
    share: float, lr: float, momentum: float, nesterov: bool, via: Via, carrier: UpdateMomentum = AVERAGE
) -> tuple[float, float]:
    """Return the lr and momentum whose effective learning rate is `share` times that of the initial ones.

    Momentum can only raise the effective learning rate. At momentum 0 it equals the lr, which then carries the rest of
    the way down.

    Args:
        share: The share of the peak in [0, 1].
        lr, momentum: The initial values, ≥ 0 and in [0, 1).
        nesterov: Whether the momentum looks ahead by one gradient.
        via: "lr" keeps the momentum, "momentum" keeps the lr as long as it can, and "both" gives each the square root
            of the share.
        carrier: What this momentum does to the effective learning rate.

    >>> lr_and_momentum(0.5, 0.1, 0.9, False, "lr")
    (0.05, 0.9)
    >>> [round(value, 12) for value in lr_and_momentum(0.5, 0.1, 0.6, False, "momentum")]
    [0.1, 0.0]
    >>> [round(value, 12) for value in lr_and_momentum(0.25, 0.1, 0.6, False, "momentum")]
    [0.05, 0.0]
    """
    if via == "lr" or share == 1 or lr == 0:
        return share * lr, momentum
    wanted = share * effective_lr(lr, carrier.filter(momentum, nesterov))
    lowered_lr = lr * share ** LR_EXPONENT[via]
    if wanted > lowered_lr:
        return lowered_lr, carrier.momentum_for(wanted, lowered_lr, nesterov)
    return wanted, 0.0


@final
class EffectiveLR(ShapeScheduler):
    """Schedules the effective learning rate, all that one minibatch adds to the weights, along a shape.

    It is γ/√(Σ c_j²) if the update is normalised (`sd.theory.effective_lr`; arXiv 2512.08217, Sec. 2.2), and γ/(1-β)
    under SGD. This class is a torch LRScheduler.

    Each group starts from its own lr and momentum. They are kept as `initial_lr` and `initial_momentum` (β in PyTorch's
    convention) in the group, and so are saved in the optimizer's state dict. Tensors are filled in place. A group that
    is added later starts from its values at that time. In a `SequentialLR` use the same `via` in all phases, because
    only a scheduler that moves momentum sets it.

    Args:
        optimizer: The optimizer, or a wrapper of it. `via="momentum"` and `via="both"` need one whose momentum changes
            the effective learning rate: Scion, SGDW, Muon, torch's SGD, and those that `sd.register_optimizer` makes
            known.
        shape: "cosine", "linear", "wsd", "constant", or a callable from the step to a share of the peak in [0, 1].
        steps: The length of the schedule in optimizer steps, 1 or more. Afterwards the last value stays.
        warmup_steps: How many of these steps warm up, fewer than `steps`. It must be 0 with a callable.
        via: What changes. "lr" changes the lr alone. "momentum" lowers the momentum as far as 0 and only then the lr.
            "both" divides the change equally on a logarithmic scale, as far as momentum can go.
        last_epoch: As in torch. Use -1 to begin. To resume, use the number of the last step, with an optimizer that has
            loaded its state dict.

    Raises:
        TypeError: `optimizer` is not an optimizer.
        ValueError: An argument is outside its range, or the momentum of a group does not change the effective learning
            rate or is not known. Nothing has changed.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        shape: Shape = "cosine",
        *,
        steps: int,
        warmup_steps: int = 0,
        via: Via = "lr",
        last_epoch: int = -1,
    ) -> None:
        optimizer = required_optimizer(optimizer)
        if via not in get_args(Via):
            raise ValueError(f"via is {via!r}; it must be one of {', '.join(map(repr, get_args(Via)))}")
        if isinstance(last_epoch, bool) or not isinstance(last_epoch, Integral) or last_epoch < -1:
            legal = "it must be -1 to begin, or the number of the last step to resume"
            raise ValueError(f"last_epoch is {last_epoch!r}; {legal}")
        share = share_at(shape, last_epoch + 1, steps, warmup_steps)
        self.via: Via = via
        for index, group in enumerate(optimizer.param_groups):
            require_initial(group, index, "initial_lr", last_epoch)
            if via != "lr":
                _require_carrier(optimizer, index, via, last_epoch)
            _scheduled(optimizer, group, share, via)
        super().__init__(optimizer, shape, steps, warmup_steps, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the lr of each group at this step, and set the momentum if it takes part, as OneCycleLR does."""
        groups = self.optimizer.param_groups
        # Compute all values first: a group that cannot follow must not leave earlier groups changed.
        values = [_scheduled(self.optimizer, group, self.share, self.via) for group in groups]
        for group, (_, written) in zip(groups, values, strict=True):
            group.setdefault("initial_lr", float(group["lr"]))
            if self.via != "lr":
                group.setdefault("initial_momentum", _initial_momentum(self.optimizer, group))
                for key, value in written.items():
                    set_in_place(group, key, value)
        return [lr for lr, _ in values]


def _scheduled(optimizer: Optimizer, group: Group, share: float, via: Via) -> tuple[float, Group]:
    """Return the lr of a group at a share of the peak, and the keys that hold its momentum."""
    lr = float(group.get("initial_lr", group["lr"]))
    if via == "lr":
        return share * lr, {}
    carrier, momentum = carrier_of(optimizer, group), _initial_momentum(optimizer, group)
    assert carrier.written is not None
    new_lr, new_momentum = lr_and_momentum(share, lr, momentum, _looks_ahead(carrier, group), via, carrier)
    return new_lr, carrier.written(group, new_momentum)


def _initial_momentum(optimizer: Optimizer, group: Group) -> float:
    """Return β at the peak: the group's initial momentum, or its present one."""
    given = group["initial_momentum"] if "initial_momentum" in group else carrier_of(optimizer, group).read(group)
    require_in("momentum", float(given), 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")
    return float(given)


def carrier_of(optimizer: Optimizer, group: Group) -> UpdateMomentum:
    """Return the momentum of a group, of which it is known that it carries the effective learning rate."""
    known = known_optimizer(optimizer, group)
    assert known is not None and known.momentum is not None
    return known.momentum


def _require_carrier(optimizer: Optimizer, index: int, via: Via, last_epoch: int) -> None:
    group, name = optimizer.param_groups[index], type(optimizer).__name__
    place = f"via is {via!r}, but the momentum of group {index} of {name}"
    remedy = "use via='lr', or an optimizer whose momentum does, such as Scion, Muon or SGDW"
    known = known_optimizer(optimizer, group)
    if known is None or known.momentum is None:
        why = why_momentum_is_unknown(optimizer, group)
        register = f"make it known with steadydecay.register_optimizer({name}, ...)"
        raise ValueError(f"via is {via!r} for group {index} of {name}, but {why}; use via='lr', or {register}")
    if known.momentum.written is None:
        why = "does not change the effective lr (in Adam the second moment sets it)"
        raise ValueError(f"{place} {why}; {remedy}")
    require_initial(group, index, "initial_momentum", last_epoch)
    lr, momentum = float(group.get("initial_lr", group["lr"])), _initial_momentum(optimizer, group)
    nesterov = _looks_ahead(known.momentum, group)
    if lr and momentum:
        known.momentum.momentum_for(effective_lr(lr, known.momentum.filter(momentum, nesterov)), lr, nesterov)


def _looks_ahead(carrier: UpdateMomentum, group: Group) -> bool:
    return bool(group.get("nesterov", False))
