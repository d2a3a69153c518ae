"""Stop a run whose loss or gradients are no longer finite, and say where it began."""

import math
from typing import final

from torch import Tensor, nn


@final
class NonFiniteError(FloatingPointError):
    """The loss or a gradient is NaN or infinite; the step was not taken.

    Attributes:
        step: that was being computed, from 1.
        parameters: names of all parameters whose gradient is not finite, in the model's order.
    """

    def __init__(self, step: int, loss: float, parameters: list[str]) -> None:
        self.step, self.parameters = step, parameters
        count = f"({len(parameters)} in all)"
        alone = "in the gradient norm alone, which overflows" if math.isfinite(loss) else "in the loss alone"
        first = f"in the gradient of {parameters[0]!r} {count}" if parameters else alone
        remedy = "weights and checkpoints are as they were before it; lower lr or look at this step's batch"
        super().__init__(f"step {step}: loss {loss:g}, not finite {first}; {remedy}")


def require_finite(step: int, loss: float, gradient_norm: Tensor, model: nn.Module) -> None:
    """Raise NonFiniteError unless loss and total gradient norm are finite; call it before the optimizer's step."""
    if math.isfinite(loss) and math.isfinite(gradient_norm.item()):
        return
    gradients = ((name, parameter.grad) for name, parameter in model.named_parameters())
    names = [name for name, gradient in gradients if gradient is not None and not gradient.isfinite().all()]
    raise NonFiniteError(step, loss, names)
