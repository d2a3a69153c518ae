"""Which parameters of a group take part in a step."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def parameters_with_gradient(group: Mapping[str, Any], optimizer_name: str) -> list[Tensor]:
    """Parameters that have a gradient; the others stay as they are, as in torch: an unused expert must not shrink.

    Raises:
        ValueError: a sparse gradient.
    """
    parameters: list[Tensor] = []
    # One look at each: the step of 10⁴ small tensors is for the most part Python.
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is not None:
            if gradient.is_sparse:
                shape = tuple(parameter.shape)
                remedy = f"{optimizer_name} takes dense ones: Embedding(sparse=False)"
                raise ValueError(f"gradient of a {shape} parameter is sparse; {remedy}")
            parameters.append(parameter)
    return parameters


def gradient_of(parameter: Tensor) -> Tensor:
    """The gradient of one of `parameters_with_gradient`."""
    gradient = parameter.grad
    assert gradient is not None
    return gradient
