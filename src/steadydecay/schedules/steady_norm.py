"""A schedule of the wanted steady state S (arXiv 2512.08217, Algorithm 2: ScionC with cosine C_t²)."""

from collections.abc import Collection
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.groups.settings import Group, with_references
from steadydecay.schedules.shape_scheduler import ShapeScheduler, required_optimizer, set_in_place
from steadydecay.schedules.shapes import Shape, share_at
from steadydecay.theory.validation import require_in


@final
class SteadyNorm(ShapeScheduler):
    """Schedules `steady_norm_sq` from `start` to `end`: S_t = end + (start - end) · shape(t). Leaves the lr alone.

    A tensor `steady_norm_sq` is filled in place, so that a compiled step does not compile again.

    Args:
        optimizer: with groups that have `steady_norm_sq`.
        shape: "cosine", "linear", "wsd", "constant" (stays at `start`), or a callable step -> share in [0, 1].
        steps: length of the schedule in optimizer steps, ≥ 1; afterwards the last value holds.
        start, end: S = E‖θ‖²/E‖u‖² (dimensionless) where the share is 1 and 0. Above lr², and above γ_eff²/2 under
            decay "corrected".
        where: a role or roles; by default every group that has a `steady_norm_sq`.
        last_epoch: as in torch: -1 to begin, the number of the last step to resume.

    Raises:
        TypeError: not an optimizer.
        ValueError: an argument outside its range, or no `steady_norm_sq` to schedule. Nothing has changed then.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        shape: Shape = "cosine",
        *,
        steps: int,
        start: float,
        end: float,
        where: str | Collection[str] | None = None,
        last_epoch: int = -1,
    ) -> None:
        optimizer = required_optimizer(optimizer)
        share_at(shape, last_epoch + 1, steps)
        self.start, self.end = start, end
        self.where = (where,) if isinstance(where, str) else where if where is None else tuple(where)
        require_in("start", start, 0)
        require_in("end", end, 0)
        for group in _require_groups(optimizer, self.where):
            _require_legal("start", start, group)
            _require_legal("end", end, group)
        super().__init__(optimizer, shape, steps, 0, last_epoch)

    def get_lr(self) -> list[Any]:
        """The lr of each group as it is; sets the `steady_norm_sq` of this step."""
        steady_norm_sq = self.end + (self.start - self.end) * self.share
        for group in _selected(self.optimizer, self.where):
            if group.get("steady_norm_sq") is not None:
                set_in_place(group, "steady_norm_sq", steady_norm_sq)
        return [group["lr"] for group in self.optimizer.param_groups]


def _selected(optimizer: Optimizer, roles: Collection[str] | None) -> list[Group]:
    return [group for group in optimizer.param_groups if roles is None or group.get("role") in roles]


def _require_groups(optimizer: Optimizer, roles: Collection[str] | None) -> list[Group]:
    """The groups to schedule; those that `where` names must all have a norm to schedule."""
    groups = _selected(optimizer, roles)
    for role in roles or ():
        if role not in {group.get("role") for group in groups}:
            present = ", ".join(repr(group.get("role")) for group in optimizer.param_groups)
            raise ValueError(f"where has {role!r}, which is the role of no group; the groups' roles are {present}")
    with_norm = [group for group in groups if group.get("steady_norm_sq") is not None]
    if not with_norm or (roles is not None and len(with_norm) < len(groups)):
        lacking = ", ".join(repr(group.get("role")) for group in groups if group.get("steady_norm_sq") is None)
        remedy = "build the optimizer with steady_norm_sq, or leave these roles out of where"
        raise ValueError(f"steady_norm_sq is not set in groups with role {lacking}; {remedy}")
    return with_norm


def _require_legal(argument: str, steady_norm_sq: float, group: Group) -> None:
    try:
        if "momentum" in group:
            with_references({**group, "steady_norm_sq": steady_norm_sq}, {})
        else:
            require_in("steady_norm_sq", steady_norm_sq, float(group.get("reference_lr", group["lr"])) ** 2)
    except ValueError as error:
        raise ValueError(f"{argument} is {steady_norm_sq!r} for role {group.get('role')!r}: {error}") from error
