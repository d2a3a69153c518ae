"""What is stepped at once: every entry once, in lists of bounded size."""

import pytest
import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches.alike_parts import AlikeParts, by_shape, workspace_of
from steadydecay.optim.batches.parts import Part
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


def alike(parts: list[Part], room: int, is_by_rows: bool = False, multiplications: int = 0) -> AlikeParts:
    """Parts of which each entry takes a byte."""
    return AlikeParts(parts, LmoCost(multiplications, parts[0].weight.numel()), room, is_by_rows)


@pytest.mark.parametrize(("room", "counts"), [(100, [7]), (18, [3, 3, 1]), (6, [1] * 7), (1, [1] * 7), (0, [1] * 7)])
def test_whole_weights_come_in_lists_of_as_many_as_fit(room: int, counts: list[int]) -> None:
    parts = [part(2, 3) for _ in range(7)]
    lists = list(alike(parts, room).chunks(lanes=1))
    assert [len(some) for some in lists] == counts
    assert [id(one) for some in lists for one in some] == [id(one) for one in parts]


@pytest.mark.parametrize(
    ("count", "room", "counts"),
    [(24, 48, [3] * 8), (24, 36, [3] * 8), (24, 35, [2] * 12), (24, 11, [1] * 24), (5, 999, [1] * 5)],
)
def test_lanes_share_the_room_and_have_several_lists_each(count: int, room: int, counts: list[int]) -> None:
    parts = [part(2, 3) for _ in range(count)]
    assert [len(some) for some in alike(parts, room, multiplications=1).chunks(lanes=2)] == counts
    light = max(1, min(room // 12, count))
    assert next(len(some) for some in alike(parts, room).chunks(lanes=2)) == light


def test_a_list_stays_in_the_cache_of_a_cpu() -> None:
    weight = torch.empty(2**20, dtype=torch.int8)
    mebibyte = Part(weight, weight, weight, None)
    assert [len(some) for some in alike([mebibyte] * 25, 10**9).chunks(lanes=1)] == [10, 10, 5]


@pytest.mark.parametrize("is_compensated", [False, True])
@pytest.mark.parametrize(("room", "rows"), [(12, [4, 4, 2]), (3, [1] * 10), (1, [1] * 10), (29, [9, 1]), (30, [10])])
def test_rows_of_a_large_weight_are_views_of_each_of_its_tensors(
    room: int, rows: list[int], is_compensated: bool
) -> None:
    whole = part(10, 3, is_compensated=is_compensated)
    chunks = [rows_of for (rows_of,) in alike([whole], room, is_by_rows=True).chunks(lanes=1)]
    assert [len(chunk.weight) for chunk in chunks] == rows
    for chunk in chunks:
        for tensor in chunk[:4]:
            if tensor is not None:
                tensor.add_(10)
    assert [None if tensor is None else tensor.unique().tolist() for tensor in whole[:4]] == [
        [10.0],
        [11.0],
        [12.0],
        [13.0] if is_compensated else None,
    ]


def test_empty_weights_are_one_list() -> None:
    assert [len(some) for some in alike([part(0, 3), part(0, 3)], 5, is_by_rows=True).chunks(lanes=1)] == [2]


def test_workspace_is_four_tenths_of_a_byte_for_each_entry() -> None:
    million = [torch.empty(10**6, device="meta")] * 20
    assert workspace_of(million, None) == int(0.4 * 20 * 10**6)
    assert workspace_of(million, 8000) == 8000


def test_small_models_have_a_mebibyte() -> None:
    assert workspace_of([torch.empty(3)], None) == 2**20


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


@pytest.mark.parametrize("workspace_bytes", [-1, 1.5, "8"])
def test_an_illegal_workspace_is_refused(workspace_bytes: object) -> None:
    with pytest.raises(ValueError, match="workspace_bytes"):
        Scion([torch.zeros(2, 2, requires_grad=True)], 0.1, workspace_bytes=workspace_bytes)  # pyright: ignore[reportArgumentType]
