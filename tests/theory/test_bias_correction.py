"""Adam's first steps against the sum over all gradients, written out."""

import numpy as np
import pytest

from steadydecay.theory import exponential_average, forecast
from steadydecay.theory.bias_correction import bias_corrected_size


def by_coefficients_of_gradients(lr: np.ndarray, decay: np.ndarray, beta: float) -> list[float]:
    """θ_t is linear in the gradients: the sum of its squared coefficients."""
    coefficients, average, norms = np.zeros(len(lr)), np.zeros(len(lr)), []
    for step in range(len(lr)):
        average = beta * average
        average[step] += 1 - beta
        coefficients = (1 - decay[step]) * coefficients - lr[step] * average / (1 - beta ** (step + 1))
        norms.append(float(np.square(coefficients).sum()))
    return norms


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_a_forecast_with_these_sizes_is_the_sum_over_all_gradients(beta: float) -> None:
    random = np.random.default_rng(0)
    lr, decay = random.uniform(0, 0.1, 60), random.uniform(0, 0.2, 60)
    lr[0] = 0
    average = exponential_average(beta)
    sizes = np.array([bias_corrected_size(step, beta) for step in range(1, 61)])
    found = average.variance * np.array(forecast((lr * sizes).tolist(), decay.tolist(), average))
    np.testing.assert_allclose(found, by_coefficients_of_gradients(lr, decay, beta), rtol=1e-9, atol=1e-18)


def test_the_first_update_is_a_whole_gradient() -> None:
    for beta in (0.1, 0.9, 0.999):
        size = bias_corrected_size(1, beta)
        assert size**2 * exponential_average(beta).variance == pytest.approx(1.0)
