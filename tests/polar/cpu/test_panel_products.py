"""Products by panels beside those of torch in float64: values, symmetry, and what they write to."""

from threading import Thread

import pytest
import torch
from torch import Tensor

from steadydecay.polar.cpu import panels
from steadydecay.polar.cpu.panels import PanelProducts, Panels, is_alone_faster, is_transformed_in_place, panel_products

# Sides that the panels divide, and do not; wide, square and tall.
SHAPES = [(6, 9), (512, 40), (770, 33), (1030, 7), (1, 5), (2, 2), (1300, 3), (40, 130)]


@pytest.fixture(autouse=True, params=[2, 3, 4], ids=lambda count: f"{count} panels")
def every_symmetric_product_by_panels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("FEWEST_PANELS", "MOST_PANELS"):
        monkeypatch.setattr(panels, limit, request.param)
    use(monkeypatch, Panels(least=1, each=1, alone=1))


def use(monkeypatch: pytest.MonkeyPatch, numbers: Panels) -> None:
    keys = [(dtype, is_alone) for dtype in (torch.float32, torch.bfloat16) for is_alone in (True, False)]
    monkeypatch.setattr(panels, "PANELS", dict.fromkeys(keys, numbers))


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def symmetric(side: int, seed: int) -> Tensor:
    """A polynomial of one matrix for each seed: any two commute."""
    x = gaussian(side, side, seed=7)
    r = (x + x.mT) / (4 * side**0.5)
    return (torch.eye(side) * seed + r + seed * r @ r) / 4


def assert_near(result: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(result.double(), wanted, rtol=1e-4, atol=1e-4)


def assert_mirrored(result: Tensor) -> None:
    """Outside of the blocks on the diagonal, bit for bit."""
    height = -(-len(result) // panels.MOST_PANELS)
    for start in range(height, len(result), height):
        assert torch.equal(result[start : start + height, :start], result[:start, start : start + height].mT)


@pytest.mark.parametrize("is_view", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_is_x_by_its_transpose(shape: tuple[int, int], is_view: bool) -> None:
    x = gaussian(*shape) / shape[-1] ** 0.5
    x = x.mT.contiguous().mT if is_view else x
    result = PanelProducts().gram(x)
    assert_near(result, x.double() @ x.double().mT)
    assert_mirrored(result)
    if shape[0] >= 512 or (panels.MOST_PANELS == 2 and shape[0] < 40):
        # The blocks on the diagonal too, of which only the library's product decides.
        assert torch.equal(result, result.mT)
    out = torch.full_like(result, float("nan"))
    assert PanelProducts().gram(x, out=out) is out
    assert torch.equal(out, result)


@pytest.mark.parametrize("side", [3, 520, 770, 1, 1030])
def test_symmetric_is_the_product_and_the_addend(side: int) -> None:
    addend, left, right = (symmetric(side, seed) for seed in range(3))
    result = PanelProducts().symmetric(addend, left, right, 1.5, -0.5)
    assert_near(result, 1.5 * addend.double() - 0.5 * (left.double() @ right.double()))
    assert_mirrored(result)
    # On the blocks of the diagonal the products are as exact as their factors.
    torch.testing.assert_close(result, result.mT, rtol=1e-4, atol=1e-4)
    out = torch.full_like(result, float("nan"))
    assert PanelProducts().symmetric(addend, left, right, 1.5, -0.5, out=out) is out
    assert torch.equal(out, result)


# One and several blocks, the last one shorter; more columns than blocks are worth.
TRANSFORMED = [(40, 130), (130, 40), (40, 40), (3, 24), (24, 3), (7, 11), (3, 25), (25, 3), (1, 8), (40, 41)]


@pytest.mark.parametrize("has_room", [True, False])
@pytest.mark.parametrize("shape", TRANSFORMED)
def test_x_is_transformed_from_its_shorter_side(shape: tuple[int, int], has_room: bool) -> None:
    x, matrix = gaussian(*shape), gaussian(min(shape), min(shape), seed=1)
    factors = (x, matrix) if shape[0] > shape[1] else (matrix, x)
    wanted = 0.5 * x.double() + factors[0].double() @ factors[1].double()
    given, room = x.clone(), torch.empty_like(x) if has_room else None
    result, other = PanelProducts().transformed(given, 0.5, matrix, room)
    assert_near(result, wanted)
    is_a_long_one = max(shape) > 8 * min(shape)
    assert is_transformed_in_place(x.shape) == (not is_a_long_one)
    assert (result is given) == (has_room or not is_a_long_one)
    assert other is (room if has_room else given if is_a_long_one else None)


def test_nothing_is_written_but_the_result() -> None:
    addend, left, right = (symmetric(520, seed) for seed in range(3))
    before = [operand.clone() for operand in (addend, left, right)]
    PanelProducts().symmetric(addend, left, right, 1.0, 1.0)
    PanelProducts().gram(left)
    PanelProducts().transformed(gaussian(520, 900), 1.0, left)
    for operand, copy in zip((addend, left, right), before, strict=True):
        assert torch.equal(operand, copy)


def test_small_products_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Panels(least=10**6, each=1, alone=10**6))
    monkeypatch.setattr(panels, "PanelViews", None)
    x, square = gaussian(90, 100), symmetric(99, 1)
    assert torch.equal(PanelProducts().gram(x), x @ x.mT)
    assert_near(PanelProducts().symmetric(square, square, square, 1.0, 2.0), (square + 2 * square @ square).double())
    with pytest.raises(TypeError):
        PanelProducts().gram(gaussian(110, 100))
    large = symmetric(100, 1)
    with pytest.raises(TypeError):
        PanelProducts().symmetric(large, large, large, 1.0, 1.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_alone_follows_the_threads_and_the_dtype(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(
        panels, "PANELS", {(torch.float32, True): Panels(1, 1, 600), (torch.float32, False): Panels(1, 1, 6000)}
    )
    alone = {1: [False, True, True, True], 2: [False, False, False, True]}[threads]
    shapes = [(5, 23), (5, 24), (3, 24, 5), (300, 5)]
    assert [is_alone_faster(torch.Size(shape), torch.float32) for shape in shapes] == alone
    assert not is_alone_faster(torch.Size((10**4, 10**4)), torch.float64)


def test_nan_stays_in_its_row_and_column() -> None:
    x = gaussian(520, 30)
    x[3, 4] = float("nan")
    is_nan = PanelProducts().gram(x).isnan()
    assert is_nan[3].all() and is_nan[:, 3].all()
    assert is_nan.sum() == 2 * 520 - 1


def polar_like(products: PanelProducts, x: Tensor) -> Tensor:
    """Every product of a form, on a copy."""
    first, second = products.squares(x, 2)
    products.gram(x.mT if x.shape[0] > x.shape[1] else x, out=first)
    products.symmetric(first, first, first, 0.5, 0.25, out=second)
    return products.transformed(x.clone(), 1.5, second)[0]


@pytest.mark.parametrize("shape", [(40, 130), (130, 40), (40, 40)])
def test_products_of_one_matrix_are_not_those_of_the_one_before(shape: tuple[int, int]) -> None:
    matrices = [gaussian(*shape, seed=seed) / 20 for seed in range(3)]
    alone = [polar_like(PanelProducts(), x) for x in matrices]
    with panel_products(matrices[0]) as products:
        for x, wanted in zip(matrices, alone, strict=True):
            assert torch.equal(polar_like(products, x), wanted)
    # Another shape with the same squares, and another step.
    with panel_products(matrices[0].mT) as products:
        polar_like(products, gaussian(shape[1], shape[0]))
    with panel_products(matrices[0]) as products:
        assert torch.equal(polar_like(products, matrices[0]), alone[0])


def test_between_steps_there_are_views_without_memory() -> None:
    x = gaussian(40, 130)
    with panel_products(x) as products:
        squares = products.squares(x, 3)
        assert all(square.untyped_storage().nbytes() == 40 * 40 * 4 for square in squares)
        polar_like(products, x)
    assert all(square.untyped_storage().nbytes() == 0 for square in squares)
    with pytest.raises(ZeroDivisionError), panel_products(x) as same:
        assert same is products
        polar_like(same, x)
        raise ZeroDivisionError
    assert all(square.untyped_storage().nbytes() == 0 for square in squares)


def test_every_thread_and_every_side_has_squares_of_its_own() -> None:
    found: list[PanelProducts] = []

    def look(x: Tensor) -> None:
        with panel_products(x) as products:
            found.append(products)

    x = gaussian(40, 130)
    look(x)
    look(x.mT)
    look(x.bfloat16())
    look(x[:39])
    thread = Thread(target=look, args=(x,))
    thread.start()
    thread.join()
    first, of_tall, *others = found
    assert of_tall is first
    assert len({first, *others}) == 4


def test_what_was_made_in_inference_mode_serves_outside_of_it() -> None:
    x = gaussian(43, 130)
    with torch.inference_mode(), panel_products(x) as products:
        first = polar_like(products, x)
    with torch.no_grad(), panel_products(x) as products:
        assert torch.equal(polar_like(products, x), first)
    assert torch.equal(polar_like(products, x), first)
