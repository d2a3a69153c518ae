"""The common base of this library's schedulers: a shape, its length, and a state that resumes exactly."""

from abc import ABC
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.schedules.shapes import Shape, share_at


class ShapeScheduler(LRScheduler, ABC):
    """A torch scheduler that follows a shape in closed form, so that any `last_epoch` may come next."""

    def __init__(self, optimizer: Optimizer, shape: Shape, steps: int, warmup_steps: int, last_epoch: int) -> None:
        self.shape = shape
        self.steps = steps
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, last_epoch)

    @property
    def share(self) -> float:
        """The share of the peak at the current step."""
        return self._share_at(self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Set the values of the next step. If the shape fails, neither the groups nor the count change."""
        self._share_at(self.last_epoch + 1 if epoch is None else epoch)
        super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return everything except the optimizer and a callable shape, which must be passed again to resume."""
        is_named = isinstance(self.shape, str)
        return {**super().state_dict(), "shape": self.shape if is_named else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned.

        Raises:
            ValueError: The saved shape was a callable, but this scheduler's is a name. Nothing has changed.
        """
        shape = state_dict["shape"]
        if shape is None and isinstance(self.shape, str):
            raise ValueError(
                f"shape is {self.shape!r}, but the saved one was a callable; construct the scheduler with that callable"
            )
        super().load_state_dict({**state_dict, "shape": self.shape if shape is None else shape})

    def _share_at(self, step: int) -> float:
        return share_at(self.shape, step, self.steps, self.warmup_steps)


def required_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimizer whose groups are scheduled, which may be inside another object, or raise TypeError."""
    return optimizer if isinstance(optimizer, Optimizer) else unwrapped(optimizer)


def require_initial(group: Group, index: int, key: str, last_epoch: int) -> None:
    """Raise ValueError unless a group that resumes at `last_epoch` has the value from which its schedule started."""
    if last_epoch != -1 and key not in group:
        remedy = "load the optimizer's state dict first, or begin with last_epoch=-1"
        raise ValueError(f"last_epoch is {last_epoch}, but group {index} has no {key!r}; {remedy}")


def set_in_place(group: Group, key: str, value: float) -> None:
    """Set a hyperparameter. A tensor is filled in place, because compiled steps and CUDA graphs refer to it."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value
