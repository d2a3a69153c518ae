"""What moves in a run: the learning rate, and S where the recipe says so. One object to step, save and resume."""

from typing import Any, final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from steadydecay.recipes.recipe import Recipe
from steadydecay.schedules.shapes import cosine
from steadydecay.schedules.steady_norm import SteadyNorm

STEADY_NORMS = "steady_norms"


@final
class RunSchedule:
    """The learning rate on a cosine with linear warm-up; S of each corrected role on a cosine, too, if it has an end.

    Args:
        optimizer: that the recipe names, as `OPTIMIZERS` builds it.
        recipe: steps, warmup_steps and steady_norm_end.

    Raises:
        ValueError: a steady_norm_end, and no group whose decay follows from S; or an S outside its range.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe) -> None:
        self._lr = LambdaLR(optimizer, lambda step: cosine(step, recipe.steps, recipe.warmup_steps))
        self._steady_norms = _steady_norms(optimizer, recipe)

    @property
    def last_epoch(self) -> int:
        """Steps done."""
        return self._lr.last_epoch

    @property
    def base_lrs(self) -> list[float]:
        """The peak of each group."""
        return list(map(float, self._lr.base_lrs))

    def step(self) -> None:
        """Set the numbers of the next step."""
        for schedule in (self._lr, *self._steady_norms):
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """That of the learning rate's schedule, as it was before there was another; the others under a key of it."""
        others = {STEADY_NORMS: [one.state_dict() for one in self._steady_norms]} if self._steady_norms else {}
        return self._lr.state_dict() | others

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave for the same recipe."""
        self._lr.load_state_dict({key: value for key, value in state.items() if key != STEADY_NORMS})
        for one, own in zip(self._steady_norms, state.get(STEADY_NORMS, []), strict=True):
            one.load_state_dict(own)


def _steady_norms(optimizer: Optimizer, recipe: Recipe) -> list[SteadyNorm]:
    """One for each S that groups start from, which follows from their lr."""
    if recipe.steady_norm_end is None:
        return []
    starts = {
        group["role"]: group["steady_norm_sq"]
        for group in optimizer.param_groups
        if group.get("steady_norm_sq") is not None
    }
    if not starts:
        raise ValueError(
            f"steady_norm_end is {recipe.steady_norm_end!r}, and no decay of {recipe.optimizer!r} follows from S; "
            "legal is none, or an optimizer of Scion's kind with a decay_per_step above 0"
        )
    return [
        SteadyNorm(optimizer, steps=recipe.steps, start=start, end=recipe.steady_norm_end * start, where=role)
        for role, start in starts.items()
    ]
