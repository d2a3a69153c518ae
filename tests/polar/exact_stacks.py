"""Stacks of matrices whose products are exact in half precision, in every memory layout that a view may have."""

from collections.abc import Callable

import torch
from torch import Tensor

SENTINEL = 7.0


def integers(shape: tuple[int, ...], seed: int) -> Tensor:
    """-1, 0 and 1 in float64: sums of a few hundred products are exact in float16 and bfloat16."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randint(-1, 2, shape, generator=generator, device="cpu").double().to(torch.get_default_device())


def gaussian(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64).to(torch.get_default_device())


def contiguous(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.full(shape, SENTINEL, dtype=dtype)


def padded(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A view with gaps between rows, between matrices and around it, at an odd offset."""
    batch, rows, columns = shape
    return contiguous((batch + 1, rows + 4, columns + 5), dtype)[1:, 2 : rows + 2, 3 : columns + 3]


def transposed(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    batch, rows, columns = shape
    return contiguous((batch, columns, rows), dtype).mT


def batch_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    batch, rows, columns = shape
    return contiguous((columns, rows, batch), dtype).permute(2, 1, 0)


def strided(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    batch, rows, columns = shape
    return contiguous((2 * batch, 3 * rows, 2 * columns), dtype)[1::2, ::3, 1::2]


LAYOUTS: dict[str, Callable[[tuple[int, ...], torch.dtype], Tensor]] = {
    layout.__name__: layout for layout in (contiguous, padded, transposed, batch_last, strided)
}


def filled(layout: str, values: Tensor, dtype: torch.dtype) -> Tensor:
    """A view of that layout with these values, the sentinel around them."""
    return LAYOUTS[layout](tuple(values.shape), dtype).copy_(values)


def whole(view: Tensor) -> Tensor:
    """All of a view's storage."""
    return view.as_strided((view.untyped_storage().nbytes() // view.element_size(),), (1,), 0)


def is_sentinel_around(view: Tensor) -> bool:
    """Whether the storage outside the view is untouched."""
    storage = whole(view).clone()
    storage.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(SENTINEL)
    return bool((storage == SENTINEL).all())


def mirrored(x: Tensor) -> Tensor:
    """The symmetric matrix with the same lower half."""
    return x.tril() + x.tril(-1).mT
