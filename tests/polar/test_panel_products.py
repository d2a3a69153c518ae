"""Products by panels beside those of torch in float64: values, symmetry, and what they write to."""

import pytest
import torch
from torch import Tensor

from steadydecay.polar import panels
from steadydecay.polar.panels import PANEL_PRODUCTS

# Sides that the panels divide, and do not; wide, square and tall; with the least work lowered to 1.
SHAPES = [(1, 6, 9), (3, 512, 40), (2, 770, 33), (1, 1030, 7), (2, 1, 5), (2, 2, 2), (1, 1300, 3)]


@pytest.fixture(autouse=True)
def every_product_by_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "LEAST_WORK", {torch.float32: 1, torch.bfloat16: 1})


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def symmetric(batch: int, side: int, seed: int) -> Tensor:
    """A polynomial of one matrix for each seed: any two commute."""
    x = gaussian(batch, side, side, seed=7)
    r = (x + x.mT) / (4 * side**0.5)
    return (torch.eye(side) * seed + r + seed * r @ r) / 4


def assert_near(result: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(result.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_view", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_is_x_by_its_transpose(shape: tuple[int, int, int], is_view: bool) -> None:
    x = gaussian(*shape) / shape[-1] ** 0.5
    x = x.mT.contiguous().mT if is_view else x
    result = PANEL_PRODUCTS.gram(x)
    assert_near(result, x.double() @ x.double().mT)
    assert torch.equal(result, result.mT)
    out = torch.full_like(result, float("nan"))
    assert PANEL_PRODUCTS.gram(x, out=out) is out
    assert torch.equal(out, result)


@pytest.mark.parametrize(("batch", "side"), [(1, 3), (2, 520), (1, 770), (3, 1), (1, 1030)])
def test_symmetric_is_the_product_and_the_addend(batch: int, side: int) -> None:
    addend, left, right = (symmetric(batch, side, seed) for seed in range(3))
    result = PANEL_PRODUCTS.symmetric(addend, left, right, 1.5, -0.5)
    assert_near(result, 1.5 * addend.double() - 0.5 * (left.double() @ right.double()))
    # Off the blocks on the diagonal one half is the other; on them only the products are as exact as their factors.
    torch.testing.assert_close(result, result.mT, rtol=1e-4, atol=1e-4)
    out = torch.full_like(result, float("nan"))
    assert PANEL_PRODUCTS.symmetric(addend, left, right, 1.5, -0.5, out=out) is out
    assert torch.equal(out, result)


@pytest.mark.parametrize("shape", SHAPES)
def test_general_is_the_product_and_the_addend(shape: tuple[int, int, int]) -> None:
    batch, rows, columns = shape
    addend, left, right = gaussian(*shape), gaussian(batch, rows, 4, seed=1), gaussian(batch, 4, columns, seed=2)
    result = PANEL_PRODUCTS.general(addend, left, right, 0.5, 2.0)
    assert_near(result, 0.5 * addend.double() + 2 * left.double() @ right.double())
    out = torch.full_like(result, float("nan"))
    assert PANEL_PRODUCTS.general(addend, left, right, 0.5, 2.0, out=out) is out
    assert torch.equal(out, result)


def test_nothing_is_written_but_the_result() -> None:
    addend, left, right = (symmetric(2, 520, seed) for seed in range(3))
    before = [operand.clone() for operand in (addend, left, right)]
    PANEL_PRODUCTS.symmetric(addend, left, right, 1.0, 1.0)
    PANEL_PRODUCTS.general(addend, left, right, 1.0)
    PANEL_PRODUCTS.gram(left)
    for operand, copy in zip((addend, left, right), before, strict=True):
        assert torch.equal(operand, copy)


def test_small_products_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "LEAST_WORK", {torch.float32: 10**6})
    monkeypatch.setattr(torch, "mm", None)
    x = gaussian(2, 90, 100)
    assert torch.equal(PANEL_PRODUCTS.gram(x), x @ x.mT)
    with pytest.raises(TypeError):
        PANEL_PRODUCTS.gram(gaussian(1, 110, 100))


def test_nan_stays_in_its_own_matrix() -> None:
    x = gaussian(2, 520, 30)
    x[0, 3, 4] = float("nan")
    result = PANEL_PRODUCTS.gram(x)
    assert result[0, 3].isnan().all() and result[0, :, 3].isnan().all()
    assert result[1].isfinite().all()
