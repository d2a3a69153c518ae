"""Which entries each rank holds: every entry is somebody's, as often as there are replicas."""

from itertools import product
from typing import Any

import pytest
import torch
from torch.distributed.tensor import Replicate, Shard

from steadydecay.parallel.regions import count_of, cuts_in_order, index_of, positions_in, region_of, size_of


class Strided(Shard):
    """As torch's placement of a dimension that FSDP2 cuts after tensor parallelism."""

    split_factor = 2


LAYOUTS: list[tuple[tuple[int, ...], list[Any], int]] = [
    ((4,), [Shard(0)], 1),
    ((4,), [Shard(1)], 1),
    ((8,), [Replicate()], 8),
    ((2, 3), [Shard(0), Shard(1)], 1),
    ((2, 3), [Shard(0), Shard(0)], 1),
    ((2, 3), [Strided(0), Shard(0)], 1),
    ((2, 3), [Replicate(), Shard(0)], 2),
    ((2, 2, 2), [Replicate(), Strided(1), Shard(1)], 2),
]


@pytest.mark.parametrize("shape", [(10, 7), (3, 2), (1, 12)])
@pytest.mark.parametrize(("mesh_shape", "placements", "copies"), LAYOUTS)
def test_every_entry_is_held_as_often_as_there_are_replicas(
    mesh_shape: tuple[int, ...], placements: list[Any], copies: int, shape: tuple[int, int]
) -> None:
    held = torch.zeros(shape, dtype=torch.int64)
    for coordinate in product(*map(range, mesh_shape)):
        region = region_of(shape, mesh_shape, coordinate, cuts_in_order(placements))
        held[index_of(region)] += 1
        assert tuple(held[index_of(region)].shape) == size_of(region)
        assert held[index_of(region)].numel() == count_of(region)
    assert held.eq(copies).all()


def test_fsdp_cuts_what_tensor_parallelism_has_left() -> None:
    cuts = cuts_in_order([Strided(0), Shard(0)])
    assert [region_of((8, 1), (2, 2), at, cuts)[0] for at in product(range(2), range(2))] == [
        (0, 2),
        (4, 6),
        (2, 4),
        (6, 8),
    ]


def test_positions_are_those_of_the_whole_tensor() -> None:
    shape = (4, 5, 6)
    whole = torch.arange(120).view(shape)
    region = ((1, 3), (0, 5), (2, 3))
    assert torch.equal(positions_in(region, shape), whole[index_of(region)])
