"""Adam's first steps against the sum over all gradients, written out, and against Adam itself."""

import numpy as np
import pytest

from steadydecay.theory import exponential_average, forecast
from steadydecay.theory.bias_correction import bias_corrected_norm_sq


def by_weights_of_gradients(lr: np.ndarray, decay: np.ndarray, beta: float) -> list[float]:
    """θ_t is linear in the gradients: the sum of its squared coefficients."""
    coefficients, average, norms = np.zeros(len(lr)), np.zeros(len(lr)), []
    for step in range(len(lr)):
        average = beta * average
        average[step] += 1 - beta
        coefficients = (1 - decay[step]) * coefficients - lr[step] * average / (1 - beta ** (step + 1))
        norms.append(float(np.square(coefficients).sum()))
    return norms


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_it_is_the_sum_over_all_gradients(beta: float) -> None:
    random = np.random.default_rng(0)
    lr, decay = random.uniform(0, 0.1, 60), random.uniform(0, 0.2, 60)
    lr[0] = 0
    np.testing.assert_allclose(
        bias_corrected_norm_sq(lr, decay, beta), by_weights_of_gradients(lr, decay, beta), rtol=1e-12, atol=1e-18
    )


def test_the_first_update_is_a_whole_one_and_the_steady_state_is_that_of_full_averages() -> None:
    assert bias_corrected_norm_sq([0.1], [0.0], 0.9) == [pytest.approx(0.01)]
    average = exponential_average(0.9)
    long, full = bias_corrected_norm_sq([0.1] * 400, [0.1] * 400, 0.9), forecast([0.1] * 400, 0.1, average)
    assert long[-1] == pytest.approx(average.variance * full[-1], rel=1e-12)
    assert long[0] > 10 * average.variance * full[0]
