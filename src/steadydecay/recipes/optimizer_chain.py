"""Several optimizers over different parameters as one object, for one schedule and one checkpoint."""

from collections.abc import Callable
from typing import Any, final

import torch


@final
class OptimizerChain(torch.optim.Optimizer):
    """Step one optimizer after the other. Parameter groups and state are those of the optimizers.

    Groups are shared, not copied: what a scheduler writes to a group of the chain, the optimizer below reads.

    Args:
        optimizers: Optimizers whose groups and state all exist already (ours have state from construction on).
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for optimizer in optimizers for group in optimizer.param_groups], {})
        for optimizer in optimizers:
            self.state.update(optimizer.state)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step each optimizer; return the result of `closure`, which recomputes the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and deepcopy copy. Shared groups stay shared."""
        return {**super().__getstate__(), "optimizers": self.optimizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state from `__getstate__` or, through `load_state_dict`, `state_dict`, and share it with the
        parts."""
        super().__setstate__(state)
        groups = iter(self.param_groups)
        for optimizer in self.optimizers:
            own = [next(groups) for _ in optimizer.param_groups]
            own_parameters = [parameter for group in own for parameter in group["params"]]
            own_state = {p: self.state[p] for p in own_parameters if p in self.state}
            optimizer.state.clear()
            optimizer.state.update(own_state)
            optimizer.__setstate__({"state": optimizer.state, "param_groups": own})
