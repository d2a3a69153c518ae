"""What is found of updates that are right, and of those that are not."""

import pytest
import torch
from torch import Tensor

from steadydecay.bench.contender_weights import Gradients, ModelWeights, random_gradients, zero_weights
from steadydecay.bench.shape_sets import Entry
from steadydecay.bench.update_check import check_update

CPU = torch.device("cpu")
ENTRIES = [Entry("table", (20, 6), "output"), Entry("gain", (6,), "vector")]
ENTRIES += [
    Entry(f"{name}{index}", shape, "hidden")
    for name, shape in [("wide", (6, 15)), ("tall", (15, 6))]
    for index in (0, 1)
]


@pytest.fixture
def gradients() -> Gradients:
    return random_gradients(ENTRIES, CPU)


def stepped(gradients: Gradients, factor: float = 0.02) -> ModelWeights:
    """As an exact optimizer leaves weights of zero."""
    weights = zero_weights(ENTRIES, CPU)
    with torch.no_grad():
        for index, known in gradients.known.items():
            weights.matrices[index] -= factor * known.polar
        for weight, gradient in zip(weights.tables + weights.vectors, gradients.tensors[-2:], strict=True):
            weight -= factor * gradient.sign()
    return weights


def test_an_exact_update_has_no_error_whatever_its_size(gradients: Gradients) -> None:
    for factor in (1e-6, 0.02, 1e3):
        check = check_update(stepped(gradients, factor), gradients.known, is_spectral=True)
        assert check.faults == []
        assert check.polar_errors == pytest.approx([0, 0], abs=1e-4)
        assert check.singular_values == pytest.approx([1, 1], abs=1e-4)


def test_the_error_is_the_distance_of_directions(gradients: Gradients) -> None:
    """With one of six singular values at 1.2: of the directions (1,1,1,1,1,1.2) and (1,1,1,1,1,1)."""
    weights = stepped(gradients)
    replace(weights, 0, with_singular_values(gradients.known[0].polar, 1.2))
    check = check_update(weights, gradients.known, is_spectral=True)
    values = torch.tensor([1, 1, 1, 1, 1, 1.2])
    expected = (values / values.norm() - torch.ones(6) / 6**0.5).norm()
    assert check.polar_errors == pytest.approx([float(expected), 0], abs=1e-4)
    assert check.singular_values == pytest.approx([1, 1.2], abs=1e-4)
    assert check.faults == []


@pytest.mark.parametrize(("value", "found"), [(0.5, "from 0.50 to 1.00"), (1.5, "from 1.00 to 1.50")])
def test_singular_values_far_from_the_others_are_a_fault(gradients: Gradients, value: float, found: str) -> None:
    weights = stepped(gradients)
    replace(weights, 2, with_singular_values(gradients.known[2].polar, value))
    check = check_update(weights, gradients.known, is_spectral=True)
    assert check.faults == [f"singular values {found} of their median"]


def test_a_gradient_step_is_not_taken_for_an_orthogonal_one(gradients: Gradients) -> None:
    weights = stepped(gradients)
    for index in gradients.known:
        replace(weights, index, gradients.tensors[index])
    check = check_update(weights, gradients.known, is_spectral=True)
    assert len(check.faults) == 1
    assert check.polar_errors[0] > 0.4


def test_an_update_in_the_wrong_direction_has_an_error_of_two(gradients: Gradients) -> None:
    check = check_update(stepped(gradients, -0.02), gradients.known, is_spectral=True)
    assert check.polar_errors == pytest.approx([2, 2], abs=1e-4)


def test_parameters_that_stay_or_break_are_counted(gradients: Gradients) -> None:
    weights = stepped(gradients)
    with torch.no_grad():
        weights.vectors[0].zero_()
        weights.tables[0][3, 2] = torch.nan
    for is_spectral in (True, False):
        check = check_update(weights, gradients.known, is_spectral)
        assert check.faults == ["2 of 6 parameters not moved, or not to finite numbers"]


def test_of_elementwise_optimizers_only_the_movement_is_checked(gradients: Gradients) -> None:
    assert check_update(stepped(gradients), gradients.known, is_spectral=False) == ([], [], [])


def with_singular_values(polar: Tensor, last: float) -> Tensor:
    u, s, vh = torch.linalg.svd(polar, full_matrices=False)
    s[-1] = last
    return (u * s) @ vh


def replace(weights: ModelWeights, index: int, update: Tensor) -> None:
    with torch.no_grad():
        weights.matrices[index].copy_(-0.02 * update)
