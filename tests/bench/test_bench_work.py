"""FLOPs against a count of the products that the forms really call."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from steadydecay.bench.shape_sets import Entry
from steadydecay.bench.work import PLAIN, least_work, plain_work, polar_work
from steadydecay.polar import coefficients
from steadydecay.polar.forms import SEGMENTS, gram, plain


class Products(TorchDispatchMode):
    """Counts 2nmk for each batched or plain product."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in {"mm", "bmm", "baddbmm", "addmm"}:
            first = next(one for one in reversed(args[:-1]) if isinstance(one, torch.Tensor))
            self.flops += 2 * result.numel() * first.shape[-1]
        return result


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_the_plain_count_is_that_of_the_plain_form(shape: tuple[int, int]) -> None:
    with Products() as products:
        plain(torch.rand(1, *shape), coefficients(5))
    assert products.flops == polar_work(shape, PLAIN)


@pytest.mark.parametrize("segments", [(5,), (2, 1, 2), (2, 2, 1), (3, 2), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_the_gram_count_is_that_of_the_gram_form(shape: tuple[int, int], segments: Sequence[int]) -> None:
    with Products() as products:
        gram(torch.rand(1, *shape), coefficients(5), segments=segments)
    assert products.flops == polar_work(shape, segments)


def test_the_least_work_takes_the_plain_form_on_squares_and_the_gram_form_on_rectangles() -> None:
    square, wide = Entry("a", (8, 8), "hidden"), Entry("b", (8, 32), "hidden")
    vector, table = Entry("c", (8,), "vector"), Entry("d", (99, 8), "output")
    assert least_work([square, vector, table], torch.bfloat16) == polar_work((8, 8), PLAIN) == 30 * 8**3
    assert least_work([square, wide], torch.bfloat16) == 30 * 8**3 + (12 * 4 + 22) * 8**3
    assert least_work([wide], torch.float32) == (4 * 4 + 34) * 8**3
    assert plain_work([square, wide, vector, table]) == 30 * 8**3 + 90 * 8**3


@pytest.mark.parametrize("dtype", SEGMENTS)
def test_every_form_takes_five_steps(dtype: torch.dtype) -> None:
    assert sum(SEGMENTS[dtype]) == sum(PLAIN) == 5
