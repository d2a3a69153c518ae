"""A schedule of the desired steady state S (arXiv 2512.08217, Algorithm 2: ScionC with cosine C_t²)."""

from collections.abc import Collection
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.groups.settings import Group, with_references
from steadydecay.schedules.shape_scheduler import ShapeScheduler, required_optimizer, set_in_place
from steadydecay.schedules.shapes import Shape, share_at
from steadydecay.theory.validation import require_in


@final
class SteadyNorm(ShapeScheduler):
    """Schedules `steady_norm_sq` from `start` to `end`: S_t = end + (start - end) · shape(t). It does not change the
    lr.

    This class is a torch LRScheduler (arXiv 2512.08217, Algorithm 2). A tensor `steady_norm_sq` is filled in place, so
    that a compiled step does not recompile.

    Args:
        optimizer: An optimizer with groups that have `steady_norm_sq`.
        shape: "cosine", "linear", "wsd", "constant" (which stays at `start`), or a callable from the step to a share in
            [0, 1].
        steps: The length of the schedule in optimizer steps, 1 or more. Afterwards the last value stays.
        start, end: S = E‖θ‖²/E‖u‖² (without unit) at shares 1 and 0. Both must be above lr², and above γ_eff²/2 under
            decay "corrected".
        where: A role or several. The default is every group that has a `steady_norm_sq`.
        last_epoch: As in torch: -1 to begin, or the number of the last step to resume.

    Raises:
        TypeError: `optimizer` is not an optimizer.
        ValueError: An argument is outside its range, or no group has a `steady_norm_sq`. Nothing has changed.
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
        """Return the present lr of each group, and set the `steady_norm_sq` of this step."""
        steady_norm_sq = self.end + (self.start - self.end) * self.share
        for group in _selected(self.optimizer, self.where):
            if group.get("steady_norm_sq") is not None:
                set_in_place(group, "steady_norm_sq", steady_norm_sq)
        return [group["lr"] for group in self.optimizer.param_groups]


def _selected(optimizer: Optimizer, roles: Collection[str] | None) -> list[Group]:
    return [group for group in optimizer.param_groups if roles is None or group.get("role") in roles]


def _require_groups(optimizer: Optimizer, roles: Collection[str] | None) -> list[Group]:
    """Return the groups to schedule. All of those that `where` names must have a `steady_norm_sq`."""
    groups = _selected(optimizer, roles)
    for role in roles or ():
        if role not in {group.get("role") for group in groups}:
            present = ", ".join(repr(group.get("role")) for group in optimizer.param_groups)
            raise ValueError(
                f"where has the role {role!r}, which no group has; it must be one of the groups' roles, {present}"
            )
    with_norm = [group for group in groups if group.get("steady_norm_sq") is not None]
    if not with_norm or (roles is not None and len(with_norm) < len(groups)):
        lacking = ", ".join(repr(group.get("role")) for group in groups if group.get("steady_norm_sq") is None)
        remedy = "construct the optimizer with steady_norm_sq, or leave these roles out of where"
        raise ValueError(f"steady_norm_sq is not set in the groups with role {lacking}; {remedy}")
    return with_norm


def _require_legal(argument: str, steady_norm_sq: float, group: Group) -> None:
    try:
        if "momentum" in group:
            with_references({**group, "steady_norm_sq": steady_norm_sq}, {})
        else:
            require_in("steady_norm_sq", steady_norm_sq, float(group.get("reference_lr", group["lr"])) ** 2)
    except ValueError as error:
        raise ValueError(f"{argument} is {steady_norm_sq!r} for role {group.get('role')!r}: {error}") from error
