"""What is stepped at once: every entry once, in lists of bounded size."""

import pytest
import torch
from torch import Tensor

from steadydecay.norms import RowNorm, Sign
from steadydecay.optim.parts import Part, by_shape, chunks, workspace_entries
from steadydecay.optim.scion import Scion


def part(*shape: int, dtype: torch.dtype = torch.float32, is_compensated: bool = False) -> Part:
    weight, gradient, average, compensation = (torch.full(shape, float(i), dtype=dtype) for i in range(4))
    return Part(weight, gradient, average, compensation if is_compensated else None)


def test_lists_are_of_one_shape_and_dtype() -> None:
    parts = [part(2, 3), part(3), part(2, 3, dtype=torch.bfloat16), part(2, 3), part(3)]
    lists = by_shape(parts)
    assert [[any(one is p for p in same) for one in parts] for same in lists] == [
        [True, False, False, True, False],
        [False, True, False, False, True],
        [False, False, True, False, False],
    ]


@pytest.mark.parametrize(("entries", "counts"), [(100, [7]), (18, [3, 3, 1]), (6, [1] * 7), (1, [1] * 7), (0, [1] * 7)])
def test_whole_weights_come_in_lists_of_as_many_as_fit(entries: int, counts: list[int]) -> None:
    parts = [part(2, 3) for _ in range(7)]
    lists = list(chunks(parts, entries, by_rows=False))
    assert [len(some) for some in lists] == counts
    assert [id(one) for some in lists for one in some] == [id(one) for one in parts]


@pytest.mark.parametrize("is_compensated", [False, True])
@pytest.mark.parametrize(("entries", "rows"), [(12, [4, 4, 2]), (3, [1] * 10), (1, [1] * 10), (29, [9, 1]), (30, [10])])
def test_rows_of_a_large_weight_are_views_of_each_of_its_tensors(
    entries: int, rows: list[int], is_compensated: bool
) -> None:
    whole = part(10, 3, is_compensated=is_compensated)
    pieces = [piece for (piece,) in chunks([whole], entries, by_rows=True)]
    assert [len(piece.weight) for piece in pieces] == rows
    for piece in pieces:
        for tensor in piece:
            if tensor is not None:
                tensor.add_(10)
    assert [None if tensor is None else tensor.unique().tolist() for tensor in whole] == [
        [10.0],
        [11.0],
        [12.0],
        [13.0] if is_compensated else None,
    ]


def test_empty_weights_are_one_list() -> None:
    assert [len(some) for some in chunks([part(0, 3), part(0, 3)], 5, by_rows=True)] == [2]


def test_workspace_is_four_tenths_of_a_byte_for_each_entry() -> None:
    million = [torch.empty(10**6, device="meta")] * 20
    assert workspace_entries(million, None) == int(0.4 * 20 * 10**6) // 8
    assert workspace_entries(million, 8000) == 1000


def test_small_models_have_a_mebibyte_and_a_cpu_has_ten_at_most() -> None:
    assert workspace_entries([torch.empty(3)], None) == 2**20 // 8
    assert workspace_entries([torch.empty(1).expand(10**9)], None) == 10 * 2**20 // 8


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("norm", ["sign", "row_norm", "col_norm", "spectral"])
def test_the_size_of_chunks_changes_no_step(norm: str, nesterov: bool, momentum: float) -> None:
    ends = [trained(norm, nesterov, momentum, workspace_bytes) for workspace_bytes in (None, 1, 400, 10**6)]
    for end in ends[1:]:
        for weight, wanted in zip(end, ends[0], strict=True):
            torch.testing.assert_close(weight, wanted, rtol=1e-5, atol=1e-6)


def trained(norm: str, nesterov: bool, momentum: float, workspace_bytes: int | None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(40, 6), (40, 6), (6, 5), (40, 6)]
    weights = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    keys = {"nesterov": nesterov, "workspace_bytes": workspace_bytes}
    optimizer = Scion(weights, 0.1, momentum, weight_decay=0.5, norm=norm, **keys)  # pyright: ignore[reportArgumentType]
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("norm", ["sign", "row_norm"])
def test_an_lmo_of_rows_is_the_rows_of_the_lmo(norm: str) -> None:
    rows = {"sign": Sign(), "row_norm": RowNorm()}[norm]
    assert rows.is_row_wise
    gradient = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows.lmo(gradient[2:5]), rows.lmo(gradient)[2:5])


@pytest.mark.parametrize("workspace_bytes", [-1, 1.5, "8"])
def test_an_illegal_workspace_is_refused(workspace_bytes: object) -> None:
    with pytest.raises(ValueError, match="workspace_bytes"):
        Scion([torch.zeros(2, 2, requires_grad=True)], 0.1, workspace_bytes=workspace_bytes)  # pyright: ignore[reportArgumentType]
