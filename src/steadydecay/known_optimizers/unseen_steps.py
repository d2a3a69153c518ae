"""A word where weights move although no step of the optimizer that they are followed by is taken."""

import gc
import warnings
import weakref
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Backward passes between two looks at the weights, and entries that are looked at.
PASSES, ENTRIES = 20, 16


@final
class UnseenSteps:
    """Counts backward passes until the first step is seen: then `stop`.

    Hooks of a step say nothing if the step is never called: by a wrapper that moves the weights itself, or on a copy
    of the optimizer, which has lost them. Nothing is said of an optimizer that is gone. A few entries of one
    parameter are looked at, from its first backward pass on.

    Args:
        optimizer: whose steps are waited for.
        what: what is attached, for the warning.
    """

    def __init__(self, optimizer: Optimizer, what: str) -> None:
        self._optimizer, self._what = weakref.ref(optimizer), what
        self._passes, self._first = 0, torch.empty(0)
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        plain = (one for one in parameters if type(one) is nn.Parameter and one.requires_grad and not one.is_meta)
        self._hooks = [one.register_post_accumulate_grad_hook(self._count) for one in list(plain)[:1]]

    def stop(self) -> None:
        """A step was seen, or is no longer waited for."""
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
        # One that nobody holds any more lives until the collector comes, for what is attached to it holds it too.
        gc.collect()
        optimizer = self._optimizer()
        if optimizer is None:
            return
        warnings.warn(
            f"the weights of {type(optimizer).__name__} have moved in {self._passes} backward passes, and {self._what} "
            f"has seen no step of it. Attach to the object whose step() your loop calls: a wrapper that moves weights "
            f"by itself is passed as it is, and a copy of an optimizer has lost what was attached to the first",
            stacklevel=2,
        )


def _entries(parameter: Tensor) -> Tensor:
    return parameter.detach().flatten()[:ENTRIES]
