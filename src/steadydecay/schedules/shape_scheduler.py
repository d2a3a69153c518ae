"""What the schedulers of this library share: a shape, its length, and a state that resumes exactly."""

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
        """The share of the peak at the present step."""
        return self._share_at(self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Set the next step's values; a shape that fails there changes neither the groups nor the count."""
        self._share_at(self.last_epoch + 1 if epoch is None else epoch)
        super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer and a callable shape, which the resumed scheduler must be given again."""
        is_named = isinstance(self.shape, str)
        return {**super().state_dict(), "shape": self.shape if is_named else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave.

        Raises:
            ValueError: the saved shape was a callable and this scheduler's is a name. Nothing has changed then.
        """
        shape = state_dict["shape"]
        if shape is None and isinstance(self.shape, str):
            raise ValueError(f"shape is {self.shape!r}, but the saved one was a callable; build the scheduler with it")
        super().load_state_dict({**state_dict, "shape": self.shape if shape is None else shape})

    def _share_at(self, step: int) -> float:
        return share_at(self.shape, step, self.steps, self.warmup_steps)


def required_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer whose groups are scheduled: what is passed, or what another object holds; else TypeError."""
    return optimizer if isinstance(optimizer, Optimizer) else unwrapped(optimizer)


def require_initial(group: Group, index: int, key: str, last_epoch: int) -> None:
    """ValueError unless a group that resumes at `last_epoch` has the value that its schedule started from."""
    if last_epoch != -1 and key not in group:
        remedy = "load the optimizer's state dict first, or begin with last_epoch=-1"
        raise ValueError(f"last_epoch is {last_epoch} and group {index} has no {key!r}; {remedy}")


def set_in_place(group: Group, key: str, value: float) -> None:
    """Set a hyperparameter; a tensor is filled, because compiled steps and CUDA graphs hold on to it."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value
