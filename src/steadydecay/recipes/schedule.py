"""Schedule learning rate, momentum, decay and S as the recipe says, through one object that can step and resume."""

from typing import Any, final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from steadydecay.known_optimizers.table import known_optimizer
from steadydecay.recipes.carriers import Carried, Carrier, Moment, MomentumRule, carrier_named
from steadydecay.recipes.optimizers import LR_SQUARED
from steadydecay.recipes.recipe import Recipe
from steadydecay.schedules.effective_lr import carrier_of
from steadydecay.schedules.shapes import cosine
from steadydecay.schedules.steady_norm import SteadyNorm

STEADY_NORMS = "steady_norms"


@final
class RunSchedule:
    """A cosine with linear warm-up, carried by the learning rate or as the recipe says; S follows a cosine if it ends.

    Args:
        optimizer: The optimizer that the recipe names, as `OPTIMIZERS` builds it.
        recipe: Provides steps, warmup_steps, carrier, decay_rule and steady_norm_end.

    Raises:
        ValueError: The recipe has a steady_norm_end, but no group derives its decay from S; S is outside its range; or
            the carrier is not "lr" although the optimizer's momentum does not carry the effective learning rate.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe) -> None:
        self._optimizer, self._recipe = optimizer, recipe
        self._carrier = _carrier(optimizer, recipe)
        self._lr = LambdaLR(optimizer, self._share)
        self._decays = [group["weight_decay"] for group in optimizer.param_groups]
        self._carry()
        self._steady_norms = _steady_norms(optimizer, recipe)

    @property
    def last_epoch(self) -> int:
        """The number of steps done."""
        return self._lr.last_epoch

    @property
    def base_lrs(self) -> list[float]:
        """The peak learning rate of each group."""
        return list(map(float, self._lr.base_lrs))

    def step(self) -> None:
        """Set the numbers of the next step."""
        for schedule in (self._lr, *self._steady_norms):
            schedule.step()
        self._carry()

    def _share(self, step: int) -> float:
        return cosine(step, self._recipe.steps, self._recipe.warmup_steps)

    def _carry(self) -> None:
        """Write what the learning rate alone does not carry to the groups, over what LambdaLR wrote."""
        moment = Moment(self._share(self.last_epoch), min(1.0, self.last_epoch / self._recipe.steps))
        if self._recipe.decay_rule == LR_SQUARED:
            for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
                if group["role"] != "output" or self._recipe.correct_output:
                    group["weight_decay"] = decay * moment.share
        if self._recipe.carrier != "lr":
            for group, lr in zip(self._optimizer.param_groups, self.base_lrs, strict=True):
                known = carrier_of(self._optimizer, group)
                rule = MomentumRule(known, bool(group.get("nesterov", False)))
                group["lr"], momentum = self._carrier(moment, Carried(lr, self._recipe.momentum), rule)
                assert known.written is not None
                group.update(known.written(group, momentum))

    def state_dict(self) -> dict[str, Any]:
        """Return the learning rate schedule's state, as in older versions, with the other schedules under one key of
        it."""
        others = {STEADY_NORMS: [one.state_dict() for one in self._steady_norms]} if self._steady_norms else {}
        return self._lr.state_dict() | others

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict` of the same recipe."""
        self._lr.load_state_dict({key: value for key, value in state.items() if key != STEADY_NORMS})
        for one, own in zip(self._steady_norms, state.get(STEADY_NORMS, []), strict=True):
            one.load_state_dict(own)


def _carrier(optimizer: Optimizer, recipe: Recipe) -> Carrier:
    carrier = carrier_named(recipe.carrier)
    if recipe.carrier != "lr":
        for group in optimizer.param_groups:
            known = known_optimizer(optimizer, group)
            if known is None or known.momentum is None or known.momentum.written is None:
                raise ValueError(
                    f"carrier is {recipe.carrier!r}, but the momentum of {recipe.optimizer!r} does not carry the "
                    "effective "
                    "learning rate; use carrier=lr, or an optimizer of Scion's family"
                )
    return carrier


def _steady_norms(optimizer: Optimizer, recipe: Recipe) -> list[SteadyNorm]:
    """Return a schedule for each different S of the groups at the start, which derives from their learning rate."""
    if recipe.steady_norm_end is None:
        return []
    starts = {
        group["role"]: group["steady_norm_sq"]
        for group in optimizer.param_groups
        if group.get("steady_norm_sq") is not None
    }
    if not starts:
        raise ValueError(
            f"steady_norm_end is {recipe.steady_norm_end!r}, but no group of {recipe.optimizer!r} derives its decay "
            "from S; "
            "use steady_norm_end=none, or an optimizer of Scion's family with decay_per_step above 0"
        )
    return [
        SteadyNorm(optimizer, steps=recipe.steps, start=start, end=recipe.steady_norm_end * start, where=role)
        for role, start in starts.items()
    ]
