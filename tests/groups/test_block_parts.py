"""The parts of each matrix that several ranks hold make it up, each entry once."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from steadydecay.groups.block_parts import block_parts, cut_sides
from steadydecay.groups.index_runs import Runs
from steadydecay.groups.matrix_blocks import blocks_of, matrix_shape
from steadydecay.parallel.regions import index_of, region_of


class OnRank:
    """What a sharding says on one rank of a mesh of 2 × 3."""

    def __init__(self, coordinate: tuple[int, int], cuts: tuple[tuple[int, int], ...]) -> None:
        self._coordinate, self._cuts = coordinate, cuts

    def region(self, shape: tuple[int, ...]) -> Any:
        return region_of(shape, (2, 3), self._coordinate, self._cuts)

    def cut_dimensions(self) -> set[int]:
        return {dimension for _, dimension in self._cuts}


def numbers(runs: Runs) -> Tensor:
    return torch.tensor([entry for run in runs for entry in run], dtype=torch.long)


GROUPS = {
    "matrix": ({"role": "hidden"}, (5, 7)),
    "fused": ({"role": "hidden", "norm": {"name": "spectral", "split_sizes": [5, 2, 2]}}, (9, 4)),
    "fused columns": (
        {"role": "hidden", "norm": {"name": "spectral", "split_sizes": [5, 2, 2], "transposed": True}},
        (4, 9),
    ),
    "stack": ({"role": "hidden", "norm": "spectral"}, (3, 4, 5)),
    "kernel": ({"role": "conv", "norm": "spectral_conv"}, (5, 4, 3, 2)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_parts_make_up_each_matrix(name: str) -> None:
    group, shape = GROUPS[name]
    whole = torch.arange(float(torch.Size(shape).numel())).view(shape) + 1
    rows, columns = matrix_shape(group, shape)
    blocks = blocks_of(group, shape)
    for dimensions in itertools.product(range(len(shape)), repeat=2):
        cuts = tuple(enumerate(dimensions))
        found = [torch.zeros(b.rows[1] - b.rows[0], b.columns[1] - b.columns[0]) for b in blocks]
        for coordinate in itertools.product(range(2), range(3)):
            sharding: Any = OnRank(coordinate, cuts)
            here = whole[index_of(sharding.region(shape))]
            matrix = here.reshape(matrix_shape(group, tuple(here.shape)))
            for part, total in zip(block_parts(group, shape, blocks, sharding), found, strict=True):
                assert part.shape == tuple(total.shape)
                total[numbers(part.row_places)[:, None], numbers(part.column_places)] += part.of(matrix)
        as_matrix = whole.view(rows, columns)
        for block, total in zip(blocks, found, strict=True):
            assert torch.equal(total, as_matrix[slice(*block.rows), slice(*block.columns)])


def test_without_a_sharding_all_of_each_matrix_is_here() -> None:
    group, shape = GROUPS["stack"]
    parts = block_parts(group, shape, blocks_of(group, shape), None)
    assert [part.rows for part in parts] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert [part.columns for part in parts] == [slice(0, 5)] * 3


@pytest.mark.parametrize(
    ("name", "dimension", "expected"),
    [("stack", 1, ({1}, set())), ("stack", 2, (set(), {2})), ("kernel", 0, ({0}, set())), ("kernel", 1, (set(), {1}))],
)
def test_the_sides_that_are_cut(name: str, dimension: int, expected: tuple[set[int], set[int]]) -> None:
    group, shape = GROUPS[name]
    sharding: Any = OnRank((0, 0), ((0, dimension),))
    assert cut_sides(group, shape, sharding) == expected
    assert cut_sides(group, shape, None) == (set(), set())
