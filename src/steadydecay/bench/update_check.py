"""Whether an optimizer did the work that it is timed for: what a step added to weights of zero."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from steadydecay.bench.contender_weights import SMALLEST_SINGULAR_VALUES, Known, ModelWeights

# Five steps of any published iteration stay well within; one that is skipped does not.
NEAR_ONE = (0.6, 1.4)


class UpdateCheck(NamedTuple):
    """Empty for optimizers without matrices to orthogonalise, but for the faults.

    Fields:
        polar_errors: distance of the update of a matrix to the polar factor of its gradient, both scaled to norm 1; the
            largest over the shapes, for each of `SMALLEST_SINGULAR_VALUES`.
        singular_values: the smallest and the largest of the updates ÷ their median, for the first of these.
        faults: what an honest step would not do.
    """

    polar_errors: list[float]
    singular_values: list[float]
    faults: list[str]


@torch.no_grad()
def check_update(weights: ModelWeights, known: Mapping[int, Known], is_spectral: bool) -> UpdateCheck:
    """Of weights that were zero before the step, against what is known of its gradients."""
    faults = _unmoved(weights)
    if not is_spectral:
        return UpdateCheck([], [], faults)
    errors: dict[float, list[float]] = {smallest: [] for smallest in SMALLEST_SINGULAR_VALUES}
    values: list[Tensor] = []
    for index, (polar, smallest) in known.items():
        update = -weights.matrices[index].detach().double()
        errors[smallest].append(float((_unit(update) - _unit(polar.double())).norm()))
        if smallest == SMALLEST_SINGULAR_VALUES[0]:
            values.append(_singular_values(update))
    near_one = [min(float(each.min()) for each in values), max(float(each.max()) for each in values)]
    if not (NEAR_ONE[0] <= near_one[0] and near_one[1] <= NEAR_ONE[1]):
        faults.append(f"singular values from {near_one[0]:.2f} to {near_one[1]:.2f} of their median")
    return UpdateCheck([max(each) for each in errors.values() if each], near_one, faults)


def _unmoved(weights: ModelWeights) -> list[str]:
    every = weights.every()
    count = sum(not bool(weight.any()) or not bool(weight.isfinite().all()) for weight in every)
    return [f"{count} of {len(every)} parameters not moved, or not to finite numbers"] if count else []


def _unit(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm()


def _singular_values(matrix: Tensor) -> Tensor:
    """÷ their median. By the smaller Gram matrix, which is exact enough in float64 for values near each other."""
    gram = matrix @ matrix.mT if matrix.shape[0] <= matrix.shape[1] else matrix.mT @ matrix
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    return values / values.median()
