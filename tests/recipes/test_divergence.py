"""A run that diverges is stopped with its step and the parameters where it shows."""

import math

import pytest
import torch
from torch import Tensor, nn

from steadydecay.recipes.divergence import NonFiniteError, require_finite

MODEL = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))


@pytest.fixture(autouse=True)
def finite_gradients() -> None:
    for parameter in MODEL.parameters():
        parameter.grad = torch.ones_like(parameter)
    # Unused in the loss: no gradient, and no error.
    MODEL.get_parameter("0.bias").grad = None


def gradient_of(index: int) -> Tensor:
    gradient = MODEL.get_parameter(f"{index}.weight").grad
    assert isinstance(gradient, Tensor)
    return gradient


def test_finite_numbers_pass() -> None:
    require_finite(1, 2.5, torch.tensor(3.0), MODEL)
    require_finite(1, -1e30, torch.tensor(0.0), MODEL)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_names_all_its_parameters_in_order(value: float) -> None:
    for index in (0, 2):
        gradient_of(index)[1, 1] = value
    with pytest.raises(NonFiniteError) as caught:
        require_finite(7, 2.5, torch.tensor(math.nan), MODEL)
    assert (caught.value.step, caught.value.parameters) == (7, ["0.weight", "2.weight"])
    message = (
        "NaN or infinity at step 7 (loss 2.5) in the gradient of '0.weight' (2 in all). Weights and checkpoints are "
    )
    assert str(caught.value) == f"{message}unchanged since the step before. Lower lr, or look at this step's batch."
    assert isinstance(caught.value, FloatingPointError)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_alone_is_said_so(loss: float) -> None:
    with pytest.raises(
        NonFiniteError, match=rf"^NaN or infinity at step 3 \(loss {loss:g}\) in the loss alone\. Weights"
    ):
        require_finite(3, loss, torch.tensor(1.0), MODEL)


def test_finite_gradients_whose_norm_overflows_are_said_so() -> None:
    gradient_of(1).fill_(3e38)
    total = nn.utils.get_total_norm([gradient_of(0), gradient_of(1)])
    assert math.isinf(total)
    message = r"^NaN or infinity at step 3 \(loss 1\) in the gradient norm alone, which overflows\. Weights"
    with pytest.raises(NonFiniteError, match=message):
        require_finite(3, 1.0, total, MODEL)
