"""A schedule of the effective learning rate, carried by the lr, by the momentum, or by both."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final, get_args

from torch.optim import Optimizer

from steadydecay.groups.settings import Group
from steadydecay.schedules.shape_scheduler import ShapeScheduler, require_initial, require_optimizer, set_in_place
from steadydecay.schedules.shapes import Shape, share_at
from steadydecay.theory import effective_lr, momentum_for
from steadydecay.theory.validation import require_in

Via = Literal["lr", "momentum", "both"]
# Exponent of the share that the lr takes; momentum takes the rest.
LR_EXPONENT: dict[str, float] = {"lr": 1.0, "momentum": 0.0, "both": 0.5}


class MomentumCarrier(NamedTuple):
    """How a momentum raises the effective lr above the lr.

    Attributes:
        effective_lr: (lr, momentum, nesterov) -> γ_eff.
        momentum_for: (γ_eff, lr, nesterov) -> the momentum in [0, 1) with which lr has it; γ_eff > lr.
    """

    effective_lr: Callable[[float, float, bool], float]
    momentum_for: Callable[[float, float, bool], float]


def _effective_lr_of_sum(lr: float, momentum: float, nesterov: bool) -> float:
    require_in("momentum", momentum, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")
    return lr / (1 - momentum)


# A normalised average (Scion, Muon): arXiv 2512.08217, Eq. 3.
AVERAGE = MomentumCarrier(effective_lr, lambda wanted, lr, nesterov: momentum_for(wanted, lr, nesterov=nesterov))
# A sum that nothing normalises (SGD): `steadydecay.known_optimizers.update_momentum.heavy_ball_sum`.
SUM = MomentumCarrier(_effective_lr_of_sum, lambda wanted, lr, nesterov: 1 - lr / wanted)
OPTIMIZERS_THAT_SUM = ("SGD", "SGDW")


def lr_and_momentum(
    share: float, lr: float, momentum: float, nesterov: bool, via: Via, carrier: MomentumCarrier = AVERAGE
) -> tuple[float, float]:
    """lr and momentum whose effective lr is `share` times that of the initial ones.

    Momentum only raises the effective lr: at momentum 0 it is the lr, which carries what is left of the way down.

    Args:
        share: in [0, 1].
        lr, momentum: initial values, ≥ 0 and in [0, 1).
        nesterov: look ahead by one gradient.
        via: "lr" leaves momentum alone, "momentum" the lr as long as it can, "both" gives each the root of the share.
        carrier: what momentum does in this optimizer.

    >>> lr_and_momentum(0.5, 0.1, 0.9, False, "lr")
    (0.05, 0.9)
    >>> [round(value, 12) for value in lr_and_momentum(0.5, 0.1, 0.6, False, "momentum")]
    [0.1, 0.0]
    >>> [round(value, 12) for value in lr_and_momentum(0.25, 0.1, 0.6, False, "momentum")]
    [0.05, 0.0]
    """
    if via == "lr" or share == 1 or lr == 0:
        return share * lr, momentum
    wanted = share * carrier.effective_lr(lr, momentum, nesterov)
    lowered_lr = lr * share ** LR_EXPONENT[via]
    if wanted > lowered_lr:
        return lowered_lr, carrier.momentum_for(wanted, lowered_lr, nesterov)
    return wanted, 0.0


@final
class EffectiveLR(ShapeScheduler):
    """Schedules the effective lr, what one minibatch adds to the weights in all, along a shape.

    It is γ/√(Σ c_j²) where the update is normalised (`sd.theory.effective_lr`) and γ/(1-β) under SGD.

    Each group starts from its own lr and momentum, kept as `initial_lr` and `initial_momentum` in the group (so they
    travel in the optimizer's state dict). Tensors are filled in place. A group added later starts from what it has.
    In a `SequentialLR` use the same `via` in all phases: only a scheduler that carries momentum sets it.

    Args:
        optimizer: with "momentum" or "both", one whose groups have a `momentum` (Scion, SGDW, Muon, torch's SGD).
        shape: "cosine", "linear", "wsd", "constant", or a callable step -> share of the peak in [0, 1].
        steps: length of the schedule in optimizer steps, ≥ 1; afterwards the last value holds.
        warmup_steps: the first of them, < steps; 0 with a callable.
        via: what moves. "lr" changes the lr alone; "momentum" lowers momentum as far as 0 and only then the lr;
            "both" halves the way between them in the logarithm as far as momentum reaches.
        last_epoch: as in torch: -1 to begin; to resume, the number of the last step, in an optimizer that has loaded
            its state dict.

    Raises:
        TypeError: not an optimizer.
        ValueError: an argument outside its range, or groups whose momentum does not carry the effective lr.
            Nothing has changed then.
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
        require_optimizer(optimizer)
        if via not in get_args(Via):
            raise ValueError(f"via is {via!r}; legal are {', '.join(map(repr, get_args(Via)))}")
        share = share_at(shape, last_epoch + 1, steps, warmup_steps)
        for index, group in enumerate(optimizer.param_groups):
            require_initial(group, index, "initial_lr", last_epoch)
            if via != "lr":
                _require_momentum(optimizer, index, via, last_epoch)
            _scheduled(share, group, via, carrier_of(optimizer))
        self.via: Via = via
        super().__init__(optimizer, shape, steps, warmup_steps, last_epoch)

    def get_lr(self) -> list[Any]:
        """The lr of each group at this step; sets the momentum, where it takes part, as torch's OneCycleLR does."""
        groups, carrier = self.optimizer.param_groups, carrier_of(self.optimizer)
        # A list first: a group that cannot follow must not leave earlier groups changed.
        values = [_scheduled(self.share, group, self.via, carrier) for group in groups]
        for group, (_, momentum) in zip(groups, values, strict=True):
            group.setdefault("initial_lr", float(group["lr"]))
            if self.via != "lr":
                group.setdefault("initial_momentum", float(group["momentum"]))
                set_in_place(group, "momentum", momentum)
        return [lr for lr, _ in values]


def carrier_of(optimizer: Optimizer) -> MomentumCarrier:
    """By class name, also a base class's: an optimizer of one's own that sums gradients need not be imported here."""
    names = {ancestor.__name__ for ancestor in type(optimizer).__mro__}
    return SUM if names.intersection(OPTIMIZERS_THAT_SUM) else AVERAGE


def _scheduled(share: float, group: Group, via: Via, carrier: MomentumCarrier) -> tuple[float, float]:
    lr = float(group.get("initial_lr", group["lr"]))
    if via == "lr":
        return share * lr, 0.0
    momentum = float(group.get("initial_momentum", group["momentum"]))
    return lr_and_momentum(share, lr, momentum, bool(group.get("nesterov", False)), via, carrier)


def _require_momentum(optimizer: Optimizer, index: int, via: Via, last_epoch: int) -> None:
    group = optimizer.param_groups[index]
    place = f"via is {via!r} and group {index} of {type(optimizer).__name__}"
    remedy = "use via='lr', or an optimizer whose momentum does (Scion, Muon, SGDW)"
    if "momentum" not in group:
        why = "no momentum that carries the effective lr (under Adam's betas the second moment sets it)"
        raise ValueError(f"{place} has {why}; {remedy}")
    if "centered" in group:
        raise ValueError(f"{place} has a momentum of RMSprop's kind, which sums normalised gradients; {remedy}")
    if group.get("dampening"):
        why = f"has dampening={group['dampening']!r}, which scales the effective lr as well"
        raise ValueError(f"{place} {why}; use dampening=0 or via='lr'")
    require_initial(group, index, "initial_momentum", last_epoch)
    lr, momentum = (float(group.get(f"initial_{key}", group[key])) for key in ("lr", "momentum"))
    nesterov, carrier = bool(group.get("nesterov", False)), carrier_of(optimizer)
    if lr and momentum:
        carrier.momentum_for(carrier.effective_lr(lr, momentum, nesterov), lr, nesterov)
