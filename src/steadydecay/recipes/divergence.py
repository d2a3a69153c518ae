"""Stop a run whose loss or gradients are no longer finite, and say where it began."""

import math
from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor, nn

from steadydecay.optim.skip_nonfinite import are_finite


@final
class NonFiniteError(FloatingPointError):
    """The loss or a gradient is NaN or infinite; the step was not taken.

    Attributes:
        step: that was being computed, from 1.
        parameters: names of all parameters whose gradient is not finite, in the model's order.
        ranks: of several, those whose own loss was not finite.
    """

    def __init__(self, step: int, loss: float, parameters: list[str], ranks: Sequence[int] = ()) -> None:
        self.step, self.parameters, self.ranks = step, parameters, list(ranks)
        count = f"({len(parameters)} in all)"
        alone = "in the gradient norm alone, which overflows" if math.isfinite(loss) else "in the loss alone"
        first = f"in the gradient of {parameters[0]!r} {count}" if parameters else alone
        first += f", from the loss of rank {' and '.join(map(str, ranks))}" if ranks else ""
        remedy = "weights and checkpoints are as they were before it; lower lr or look at this step's batch"
        super().__init__(f"step {step}: loss {loss:g}, not finite {first}; {remedy}")


def require_finite(
    step: int, loss: float, gradient_norm: Tensor, model: nn.Module, ranks: Callable[[], Sequence[int]] = tuple
) -> None:
    """Raise NonFiniteError unless loss and total gradient norm are finite; call it before the optimizer's step.

    Args:
        step: that is being computed, from 1.
        loss, gradient_norm: over all ranks, the same on each of them.
        model: with the gradients, which may be cut over ranks.
        ranks: called if the answer is no, on every rank: those whose own loss is not finite.
    """
    if math.isfinite(loss) and math.isfinite(gradient_norm.item()):
        return
    gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    are = are_finite(list(gradients.values()))
    raise NonFiniteError(
        step, loss, [name for name, is_finite in zip(gradients, are, strict=True) if not is_finite], ranks()
    )
