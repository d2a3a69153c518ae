import json
import math
from pathlib import Path

import numpy as np
import pytest

from steadydecay.theory.polar_series import large_polar_series, polar_series
from steadydecay.theory.power_series import lumped, value_at

MEASURED = json.loads((Path(__file__).parents[2] / "benchmarks/results/polar_correlation.json").read_text())
SHAPES = [tuple(map(int, name.split("×"))) for name in MEASURED["shapes"]]


def share_by_quadrature(j: int, shape: float) -> float:
    """[(2/π) ∫ sin((j+1)θ) sin θ / |1+√y e^{iθ}| dθ]² by the midpoint rule."""
    points = 200_000
    theta = (np.arange(points) + 0.5) * math.pi / points
    weight = np.abs(1 + math.sqrt(shape) * np.exp(1j * theta))
    return float((2 / points * np.sum(np.sin((j + 1) * theta) * np.sin(theta) / weight)) ** 2)


def polar(matrices: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrices, full_matrices=False)
    return left @ right


@pytest.mark.parametrize("shape", [1e-4, 0.1, 0.5, 0.9, 0.999, 0.9999, 1.0])
def test_shares_of_large_matrices_are_the_integrals(shape: float) -> None:
    terms = list(large_polar_series(shape))
    for j in (0, 1, 2, 5, 20):
        if j < len(terms):
            assert terms[j].power == 2 * j + 1
            assert terms[j].share == pytest.approx(share_by_quadrature(j, shape), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 2), (2, 3), (8, 8), (8, 9), (64, 64), (64, 96), (10, 100_000), (3000, 3001)]
)
def test_shares_are_not_negative_and_sum_to_1(shape: tuple[int, int]) -> None:
    shares = [share for _, share in polar_series(*shape)]
    assert all(share >= 0 for share in shares)
    assert math.fsum(shares) == pytest.approx(1, abs=1e-9)


def test_the_first_share_of_large_matrices_is_the_squared_nuclear_norm() -> None:
    matrices = np.random.default_rng(0).standard_normal((10, 300, 600))
    singular_values = np.linalg.svd(matrices, compute_uv=False)
    share = float(np.mean(singular_values.sum(axis=1) ** 2 / (300 * (singular_values**2).sum(axis=1))))
    assert next(large_polar_series(0.5)).share == pytest.approx(share, rel=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_series_agrees_with_the_measured_correlations(shape: tuple[int, int]) -> None:
    series = lumped(polar_series(*shape))
    measured = MEASURED["shapes"][f"{shape[0]}×{shape[1]}"]
    largest = 0.00105 if shape[0] >= 8 else 0.005
    for rho, mean in zip(MEASURED["rho"], measured["mean"], strict=True):
        assert value_at(series, rho) == pytest.approx(mean, abs=largest)


@pytest.mark.parametrize("shape", [(6, 6), (10, 25)])
def test_series_agrees_with_an_svd_of_fresh_matrices(shape: tuple[int, int]) -> None:
    first, other = np.random.default_rng(1).standard_normal((2, 4000, *shape))
    second = 0.9 * first + math.sqrt(0.19) * other
    correlations = (polar(first) * polar(second)).sum(axis=(1, 2)) / shape[0]
    standard_error = correlations.std() / math.sqrt(len(correlations))
    assert value_at(lumped(polar_series(*shape)), 0.9) == pytest.approx(
        correlations.mean(), abs=0.002 + 4 * standard_error
    )


def test_order_of_sizes_does_not_matter() -> None:
    assert list(polar_series(30, 20)) == list(polar_series(20, 30))
