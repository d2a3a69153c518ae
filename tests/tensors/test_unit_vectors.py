import pytest
import torch
from torch import Tensor

from steadydecay.tensors.unit_vectors import unit_vectors

DIMS: list[int | tuple[int, ...]] = [0, -1, 1, (-2, -1), (0, 1, 2)]


def gaussian(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def lengths(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    return (x * x).sum(dim=dim, keepdim=True).sqrt()


@pytest.mark.parametrize("dim", DIMS)
def test_divides_by_the_length(dim: int | tuple[int, ...]) -> None:
    x = gaussian(3, 4, 5)
    torch.testing.assert_close(unit_vectors(x, dim), x / lengths(x, dim), rtol=1e-15, atol=0)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_powers_of_two_change_no_bit(dim: int | tuple[int, ...], scale: float) -> None:
    x = gaussian(3, 4, 5, dtype=torch.float32)
    assert torch.equal(unit_vectors(x * scale, dim), unit_vectors(x, dim))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale: float) -> None:
    x = gaussian(3, 4, dtype=torch.float32)
    torch.testing.assert_close(unit_vectors(x * scale, -1), unit_vectors(x, -1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smallest_and_largest_numbers_are_vectors_too(dtype: torch.dtype) -> None:
    smallest, largest = 2.0**-149 if dtype == torch.float32 else 2.0**-1074, torch.finfo(dtype).max
    x = torch.tensor([[smallest, 0.0], [0.0, -largest], [largest, largest]], dtype=dtype)
    wanted = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5**0.5, 0.5**0.5]], dtype=dtype)
    torch.testing.assert_close(unit_vectors(x, -1), wanted)


def test_zero_gives_zero_beside_a_vector_that_is_not() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, -4.0]])
    assert torch.equal(unit_vectors(x, -1), torch.tensor([[0.0, 0.0], [0.6, -0.8]]))


def test_scalar_is_a_vector_of_one_entry() -> None:
    assert unit_vectors(torch.tensor(-3.0), -1) == -1


@pytest.mark.parametrize("dim", [0, -1, (0, 1)])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_gives_a_new_empty(shape: tuple[int, int], dim: int | tuple[int, ...]) -> None:
    x = torch.empty(shape)
    result = unit_vectors(x, dim)
    assert result.shape == shape
    assert result is not x


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_computes_in_float32_or_better(given: torch.dtype, computed: torch.dtype) -> None:
    x = gaussian(300).to(given)
    result = unit_vectors(x, -1)
    assert result.dtype == computed
    assert float(result.double().norm()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_argument_is_unchanged_and_not_shared(dtype: torch.dtype) -> None:
    x = gaussian(4, 5).to(dtype)
    before = x.clone()
    unit_vectors(x, -1).zero_()
    assert torch.equal(x, before)


def test_infinity_and_nan_stay_visible_in_their_own_vector() -> None:
    x = torch.tensor([[1.0, float("inf")], [1.0, float("nan")], [3.0, 4.0]])
    result = unit_vectors(x, -1)
    assert result[:2].isnan().any(dim=-1).all()
    assert torch.equal(result[2], torch.tensor([0.6, 0.8]))
