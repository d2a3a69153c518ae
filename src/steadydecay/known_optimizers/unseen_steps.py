"""Warn if weights move although the optimizer that is being followed takes no step."""

import gc
import warnings
import weakref
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# The number of backward passes between two looks at the weights, and of entries that are looked at.
PASSES, ENTRIES = 20, 16


@final
class UnseenSteps:
    """Counts backward passes until the first step is seen and `stop` is called.

    The hooks of a step are silent if the step is never called: because a wrapper moves the weights itself, or because
    the loop steps a copy of the optimizer, which has lost its hooks. Nothing is said about an optimizer that no longer
    exists. A few entries of one parameter are compared, from its first backward pass on.

    Args:
        optimizer: The optimizer whose steps are expected.
        what: What is attached to it, for the warning.
    """

    def __init__(self, optimizer: Optimizer, what: str) -> None:
        self._optimizer, self._what = weakref.ref(optimizer), what
        self._passes, self._first = 0, torch.empty(0)
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        plain = (one for one in parameters if type(one) is nn.Parameter and one.requires_grad and not one.is_meta)
        self._hooks = [one.register_post_accumulate_grad_hook(self._count) for one in list(plain)[:1]]

    def stop(self) -> None:
        """Stop counting, because a step was seen or is no longer expected."""
        while self._hooks:
            self._hooks.pop().remove()

    def _count(self, parameter: Tensor) -> None:
        if self._passes == 0:
            self._first = _entries(parameter).clone()
        self._passes += 1
        is_captured = parameter.is_cuda and torch.cuda.is_current_stream_capturing()
        if self._passes % PASSES or is_captured or torch.equal(self._first, _entries(parameter)):
            return
        self.stop()
        # An unused optimizer lives until garbage is collected, because what is attached to it holds it.
        gc.collect()
        optimizer = self._optimizer()
        if optimizer is None:
            return
        warnings.warn(
            f"the weights of {type(optimizer).__name__} have moved in {self._passes} backward passes, but {self._what} "
            f"has not seen any step of it. Attach to the object whose step() your loop calls: pass a wrapper that "
            f"moves the weights itself as it is, and attach again to a copy of an optimizer, which has lost its hooks",
            stacklevel=2,
        )


def _entries(parameter: Tensor) -> Tensor:
    return parameter.detach().flatten()[:ENTRIES]
