"""Stop a run whose loss or gradients are no longer finite, and say where that began."""

import math
from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor, nn

from steadydecay.optim.skip_nonfinite import are_finite


@final
class NonFiniteError(FloatingPointError):
    """The loss or a gradient is NaN or infinite. The step was not taken.

    Attributes:
        step: The step that was being computed, counted from 1.
        parameters: The names of all parameters whose gradient is not finite, in the model's order.
        ranks: With several ranks, those whose own loss was not finite.
    """

    def __init__(self, step: int, loss: float, parameters: list[str], ranks: Sequence[int] = ()) -> None:
        self.step, self.parameters, self.ranks = step, parameters, list(ranks)
        count = f"({len(parameters)} in all)"
        alone = "the gradient norm alone, which overflows" if math.isfinite(loss) else "the loss alone"
        first = f"the gradient of {parameters[0]!r} {count}" if parameters else alone
        first += f", caused by the loss of rank {' and '.join(map(str, ranks))}" if ranks else ""
        remedy = "Weights and checkpoints are unchanged since the step before. Lower lr, or look at this step's batch."
        super().__init__(f"NaN or infinity at step {step} (loss {loss:g}) in {first}. {remedy}")


def require_finite(
    step: int, loss: float, gradient_norm: Tensor, model: nn.Module, ranks: Callable[[], Sequence[int]] = tuple
) -> None:
    """Raise NonFiniteError unless the loss and the total gradient norm are finite. Call it before the optimizer's step.

    Args:
        step: The step that is being computed, counted from 1.
        loss, gradient_norm: Their values over all ranks, the same on each of them.
        model: The model with its gradients, which may be sharded over ranks.
        ranks: Called on every rank if something is not finite; returns the ranks whose own loss is not finite.
    """
    if math.isfinite(loss) and math.isfinite(gradient_norm.item()):
        return
    gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    are = are_finite(list(gradients.values()))
    raise NonFiniteError(
        step, loss, [name for name, is_finite in zip(gradients, are, strict=True) if not is_finite], ranks()
    )
