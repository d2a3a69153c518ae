"""Student's t between two means over seeds."""

import pytest

from steadydecay.report.clear_difference import CLEAR, is_clear, standard_error


def test_the_standard_error_is_that_of_the_mean() -> None:
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / 3**0.5)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
def test_a_difference_is_clear_from_t_standard_errors_on(seeds: int) -> None:
    values = [float(seed % 2) for seed in range(seeds)]
    error = 2**0.5 * standard_error(values)
    limit = CLEAR[min(seeds - 1, len(CLEAR)) - 1] * error
    for share, expected in ((0.99, False), (1.01, True)):
        assert is_clear(values, [value + share * limit for value in values]) is expected
        assert is_clear([value + share * limit for value in values], values) is expected


def test_one_seed_and_equal_seeds_tell_nothing() -> None:
    assert is_clear([1.0], [2.0, 3.0]) is None
    assert is_clear([1.0, 1.0], [2.0, 2.0]) is None
