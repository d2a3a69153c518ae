"""Which matrices a parameter is seen as; the ranges cover it once."""

from typing import Any

import pytest
import torch

from steadydecay.groups.matrix_blocks import Block, blocks_of, matrix_shape

SPLIT = {"name": "spectral", "split_sizes": (2, 3)}
TRANSPOSED = SPLIT | {"transposed": True}
STACK = [Block((0, 5), (0, 4)), Block((5, 10), (0, 4)), Block((10, 15), (0, 4))]


@pytest.mark.parametrize(
    ("group", "shape", "matrix", "blocks"),
    [
        ({}, (), (1, 1), []),
        ({}, (7,), (1, 7), []),
        ({}, (4096,), (4, 1024), []),
        ({}, (0, 4), (0, 4), []),
        ({}, (5, 4), (5, 4), [Block((0, 5), (0, 4))]),
        ({"role": "vector"}, (5, 4), (5, 4), []),
        ({}, (3, 5, 4), (15, 4), STACK),
        ({"norm": "spectral"}, (3, 5, 4), (15, 4), STACK),
        ({"norm": "sign"}, (3, 5, 4), (15, 4), STACK),
        ({"role": "conv"}, (6, 5, 4), (6, 20), [Block((0, 6), (0, 20))]),
        ({"norm": "spectral_conv"}, (6, 5, 4), (6, 20), [Block((0, 6), (0, 20))]),
        ({}, (6, 5, 2, 2), (6, 20), [Block((0, 6), (0, 20))]),
        ({"norm": "auto"}, (6, 5, 2, 2), (6, 20), [Block((0, 6), (0, 20))]),
        ({"norm": "spectral"}, (2, 2, 5, 4), (20, 4), [*STACK, Block((15, 20), (0, 4))]),
        ({"norm": SPLIT}, (5, 4), (5, 4), [Block((0, 2), (0, 4)), Block((2, 5), (0, 4))]),
        ({"norm": TRANSPOSED}, (4, 5), (4, 5), [Block((0, 4), (0, 2)), Block((0, 4), (2, 5))]),
    ],
)
def test_the_blocks(
    group: dict[str, Any], shape: tuple[int, ...], matrix: tuple[int, int], blocks: list[Block]
) -> None:
    assert matrix_shape(group, shape) == matrix
    assert blocks_of(group, shape) == blocks


@pytest.mark.parametrize("norm", ["spectral", SPLIT, TRANSPOSED, "spectral_conv"])
def test_every_entry_is_in_one_block(norm: Any) -> None:
    shape = (3, 5, 5)
    covered = torch.zeros(matrix_shape({"norm": norm}, shape))
    for rows, columns in blocks_of({"norm": norm}, shape):
        covered[slice(*rows), slice(*columns)] += 1
    assert torch.equal(covered, torch.ones_like(covered))
