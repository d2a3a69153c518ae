"""ModelWeights and gradients of a shape set."""

import torch

from steadydecay.bench.contender_weights import SMALLEST_SINGULAR_VALUES, log_spaced, random_gradients, zero_weights
from steadydecay.bench.shape_sets import Entry
from steadydecay.polar import exact_polar

CPU = torch.device("cpu")
ENTRIES = [
    Entry("table", (20, 6), "output"),
    Entry("positions", (9, 6), "embedding"),
    *(Entry(f"wide{index}", (6, 15), "hidden") for index in range(3)),
    Entry("tall", (15, 6), "hidden"),
    Entry("gain", (6,), "vector"),
]


def test_weights_are_zero_and_sorted_by_what_is_done_with_them() -> None:
    weights = zero_weights(ENTRIES, CPU)
    assert [tuple(one.shape) for one in weights.matrices] == [(6, 15)] * 3 + [(15, 6)]
    assert [tuple(one.shape) for one in weights.tables] == [(20, 6), (9, 6)]
    assert [tuple(one.shape) for one in weights.vectors] == [(6,)]
    assert all(isinstance(one, torch.nn.Parameter) and not one.any() for one in weights.every())


def test_gradients_have_the_shapes_of_the_weights_in_their_order() -> None:
    weights, gradients = zero_weights(ENTRIES, CPU).every(), random_gradients(ENTRIES, CPU)
    assert [one.shape for one in gradients.tensors] == [one.shape for one in weights]
    assert all(one.is_contiguous() for one in gradients.tensors)
    assert all(map(torch.equal, gradients.tensors, random_gradients(ENTRIES, CPU).tensors))
    assert not torch.equal(gradients.tensors[0], random_gradients(ENTRIES, CPU, seed=1).tensors[0])


def test_two_matrices_of_each_shape_have_known_polar_factors() -> None:
    gradients = random_gradients(ENTRIES, CPU)
    well, badly = SMALLEST_SINGULAR_VALUES
    assert {index: known.smallest for index, known in gradients.known.items()} == {0: well, 1: badly, 3: well}
    for index, known in gradients.known.items():
        exact = exact_polar(gradients.tensors[index])
        assert float((known.polar - exact).norm() / exact.norm()) < 3e-5
        values = torch.linalg.svdvals(gradients.tensors[index].double())
        expected = known.smallest ** torch.linspace(0, 1, 6, dtype=torch.float64)
        assert torch.allclose(values, expected, rtol=1e-3)


def test_the_polar_factor_is_known_to_the_digits_of_the_dtype() -> None:
    for shape in [(12, 12), (7, 30), (30, 7)]:
        gaussian = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        matrix, polar = log_spaced(gaussian, 1e-3)
        assert matrix.shape == polar.shape == shape
        assert float((polar - exact_polar(matrix)).abs().max()) < 1e-10
