"""Products of single matrices beside those of torch in float64: values, symmetry, and what they write to."""

from threading import Thread

import pytest
import torch
from torch import Tensor

from steadydecay.polar.cpu import single_products
from steadydecay.polar.cpu.single_products import LEAST_OF_A_PANEL, SINGLE_PRODUCTS, block_length, is_alone_faster
from step_costs import operations

# Sides that the panels divide, and do not; wide, square and tall.
SHAPES = [(6, 9), (512, 40), (770, 33), (1030, 7), (1, 5), (2, 2), (1300, 3), (40, 130)]


@pytest.fixture(autouse=True, params=[2, 3, 4], ids=lambda count: f"{count} panels")
def every_symmetric_product_by_panels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_products, "MOST_PANELS", request.param)
    monkeypatch.setattr(single_products, "LEAST_OF_A_PANEL", dict.fromkeys(LEAST_OF_A_PANEL, 1))


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def symmetric(side: int, seed: int) -> Tensor:
    """A polynomial of one matrix for each seed: any two commute."""
    x = gaussian(side, side, seed=7)
    r = (x + x.mT) / (4 * side**0.5)
    return (torch.eye(side) * seed + r + seed * r @ r) / 4


def assert_near(result: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(result.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_view", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_is_x_by_its_transpose(shape: tuple[int, int], is_view: bool) -> None:
    x = gaussian(*shape) / shape[-1] ** 0.5
    x = x.mT.contiguous().mT if is_view else x
    result = SINGLE_PRODUCTS.gram(x)
    assert_near(result, x.double() @ x.double().mT)
    assert torch.equal(result, result.mT)


@pytest.mark.parametrize("side", [3, 520, 770, 1, 1030])
def test_symmetric_is_the_product_and_the_addend(side: int) -> None:
    addend, left, right = (symmetric(side, seed) for seed in range(3))
    result = SINGLE_PRODUCTS.symmetric(addend, left, right, 1.5, -0.5)
    assert_near(result, 1.5 * addend.double() - 0.5 * (left.double() @ right.double()))
    assert torch.equal(result, result.mT)
    out = torch.full_like(result, float("nan"))
    assert SINGLE_PRODUCTS.symmetric(addend, left, right, 1.5, -0.5, out=out) is out
    assert torch.equal(out, result)


# One and several blocks, the last one shorter; more columns than blocks are worth.
TRANSFORMED = [(40, 130), (130, 40), (40, 40), (3, 24), (24, 3), (7, 11), (3, 25), (25, 3), (1, 8), (40, 41)]


@pytest.mark.parametrize("shape", TRANSFORMED)
def test_x_is_transformed_from_its_shorter_side(shape: tuple[int, int]) -> None:
    x, matrix = gaussian(*shape), gaussian(min(shape), min(shape), seed=1)
    factors = (x, matrix) if shape[0] > shape[1] else (matrix, x)
    wanted = 0.5 * x.double() + factors[0].double() @ factors[1].double()
    SINGLE_PRODUCTS.transform_(x, 0.5, matrix)
    assert_near(x, wanted)


@pytest.mark.parametrize(
    ("shape", "length"), [((5, 9), 10), ((9, 5), 10), ((3, 48), 6), ((49, 3), 7), ((4, 2, 80), 10)]
)
def test_blocks_are_two_squares_or_an_eighth(shape: tuple[int, ...], length: int) -> None:
    assert block_length(torch.Size(shape)) == length


def test_each_panel_but_the_first_is_mirrored_by_one_copy() -> None:
    x = symmetric(520, 1)
    assert operations(lambda: SINGLE_PRODUCTS.gram(x)).count("copy_") == single_products.MOST_PANELS - 1


def test_each_dtype_has_a_least_panel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_products, "HAS_AMX", False)
    monkeypatch.setattr(single_products, "LEAST_OF_A_PANEL", {torch.float32: 20**3 // 2, torch.bfloat16: 20**3})
    x = symmetric(20, 1)
    assert operations(lambda: SINGLE_PRODUCTS.gram(x)).count("copy_") == 1
    half = x.bfloat16()
    assert operations(lambda: SINGLE_PRODUCTS.gram(half)) == ["mm"]


def test_nothing_is_written_but_the_result() -> None:
    addend, left, right = (symmetric(520, seed) for seed in range(3))
    before = [operand.clone() for operand in (addend, left, right)]
    SINGLE_PRODUCTS.symmetric(addend, left, right, 1.0, 1.0)
    SINGLE_PRODUCTS.gram(left)
    SINGLE_PRODUCTS.transform_(gaussian(520, 900), 1.0, left)
    for operand, copy in zip((addend, left, right), before, strict=True):
        assert torch.equal(operand, copy)


@pytest.mark.parametrize("side", [3, 520, 770])
def test_bfloat16_panels_are_torchs_product_and_mirrored(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_products, "HAS_AMX", False)
    addend, left, right = (symmetric(side, seed).bfloat16() for seed in range(3))
    result = SINGLE_PRODUCTS.symmetric(addend, left, right, 1.5, -0.5)
    wanted = 1.5 * addend.double() - 0.5 * (left.double() @ right.double())
    torch.testing.assert_close(result.double(), wanted, rtol=2**-7, atol=2**-7)
    height = -(-side // single_products.MOST_PANELS)
    assert torch.equal(result[height:, :height], result[:height, height:].mT)
    x = gaussian(side, 40).bfloat16()
    gram = SINGLE_PRODUCTS.gram(x)
    assert torch.equal(gram[height:, :height], gram[:height, height:].mT)
    torch.testing.assert_close(gram.double(), x.double() @ x.double().mT, rtol=2**-7, atol=2**-3)


def test_small_products_and_those_of_bfloat16_on_amx_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_products, "HAS_AMX", True)
    monkeypatch.setattr(single_products, "LEAST_OF_A_PANEL", dict.fromkeys(LEAST_OF_A_PANEL, 5 * 10**5))
    monkeypatch.setattr(single_products, "_product_by_panels", None)
    x, square = gaussian(90, 100), symmetric(99, 1)
    assert torch.equal(SINGLE_PRODUCTS.gram(x), x @ x.mT)
    assert_near(SINGLE_PRODUCTS.symmetric(square, square, square, 1.0, 2.0), (square + 2 * square @ square).double())
    half = gaussian(110, 100).bfloat16()
    assert torch.equal(SINGLE_PRODUCTS.gram(half), half @ half.mT)
    with monkeypatch.context() as without_amx, pytest.raises(TypeError):
        without_amx.setattr(single_products, "HAS_AMX", False)
        SINGLE_PRODUCTS.gram(half)
    with pytest.raises(TypeError):
        SINGLE_PRODUCTS.gram(gaussian(110, 100))
    large = symmetric(100, 1)
    with pytest.raises(TypeError):
        SINGLE_PRODUCTS.symmetric(large, large, large, 1.0, 1.0)


def test_what_is_alone_follows_the_size_and_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_products, "SMALLEST_ALONE", {torch.float32: 600, torch.bfloat16: 6000})
    alone = {torch.float32: [False, True, True, True], torch.bfloat16: [False, False, False, True]}
    shapes = [(5, 23), (5, 24), (3, 24, 5), (300, 5)]
    for dtype, wanted in alone.items():
        assert [is_alone_faster(torch.Size(shape), dtype) for shape in shapes] == wanted
    assert not is_alone_faster(torch.Size((10**4, 10**4)), torch.float64)


def test_nan_stays_in_its_row_and_column() -> None:
    x = gaussian(520, 30)
    x[3, 4] = float("nan")
    is_nan = SINGLE_PRODUCTS.gram(x).isnan()
    assert is_nan[3].all() and is_nan[:, 3].all()
    assert is_nan.sum() == 2 * 520 - 1


def moved(x: Tensor) -> Tensor:
    """By every product of a form, on a copy."""
    x = x.clone()
    gram = SINGLE_PRODUCTS.gram(x.mT if x.shape[0] > x.shape[1] else x)
    SINGLE_PRODUCTS.transform_(x, 1.5, SINGLE_PRODUCTS.symmetric(gram, gram, gram, 0.5, 0.25))
    return x


def test_threads_that_multiply_at_once_do_not_meet() -> None:
    matrices = [gaussian(*shape, seed=seed) / 20 for seed, shape in enumerate([(40, 130), (130, 40), (40, 40)] * 2)]
    alone, together = [moved(x) for x in matrices], [[] for _ in matrices]

    def move_often(index: int) -> None:
        together[index].extend(moved(matrices[index]) for _ in range(30))

    threads = [Thread(target=move_often, args=(index,)) for index in range(len(matrices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, wanted in zip(together, alone, strict=True):
        assert len(results) == 30
        for result in results:
            torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)
