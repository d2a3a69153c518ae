"""Which parameters of a group take part in a step."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def parameters_with_gradient(group: Mapping[str, Any], optimizer_name: str) -> list[Tensor]:
    """Parameters that have a gradient; the others stay as they are, as in torch: an unused expert must not shrink.

    Raises:
        ValueError: a sparse gradient.
    """
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    for parameter in parameters:
        if parameter.grad.is_sparse:
            shape = tuple(parameter.shape)
            remedy = f"{optimizer_name} takes dense ones: Embedding(sparse=False)"
            raise ValueError(f"gradient of a {shape} parameter is sparse; {remedy}")
    return parameters


def gradient_of(parameter: Tensor) -> Tensor:
    """The gradient of one of `parameters_with_gradient`."""
    gradient = parameter.grad
    assert gradient is not None
    return gradient
