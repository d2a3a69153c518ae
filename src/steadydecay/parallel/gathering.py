"""After a step under `DistributedDataParallel`, send every rank the regions of weights that other ranks moved."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.exchange import all_gather
from steadydecay.parallel.rank_groups import Ranks
from steadydecay.parallel.regions import Region, count_of, index_of, size_of

# The bytes that come from all ranks at one time, unless there are very many.
BUFFER_BYTES = 2**25
LEAST_BYTES_OF_A_RANK = 2**13


class _Piece(NamedTuple):
    """A part of a weight for each rank.

    Attributes:
        weight: The whole weight.
        regions: The region of each rank. All are equal except along one dimension.
    """

    weight: Tensor
    regions: list[Region]

    @property
    def most(self) -> int:
        return max(count_of(region) for region in self.regions)


def gather(cuts: Sequence[Cut], peers: Ranks) -> None:
    """Send the regions that each rank has moved to all other ranks, in a few collectives of bounded size.

    Args:
        cuts: Cuts of weights of one dtype and device, all with a replica.
        peers: The ranks that hold them.
    """
    waiting: list[tuple[Any, Tensor, list[_Piece]]] = []
    for pieces in _buckets(cuts, peers):
        waiting.append(_started(pieces, peers))
        # One bucket is on its way while the previous one is copied into place.
        if len(waiting) > 1:
            _finish(*waiting.pop(0), peers)
    for work, buffer, pieces in waiting:
        _finish(work, buffer, pieces, peers)


def _started(pieces: list[_Piece], peers: Ranks) -> tuple[Any, Tensor, list[_Piece]]:
    first = pieces[0].weight
    most = sum(piece.most for piece in pieces)
    mine = first.new_zeros(most)
    at = 0
    for piece in pieces:
        region = piece.regions[peers.rank]
        mine[at : at + count_of(region)] = piece.weight[index_of(region)].reshape(-1)
        at += piece.most
    buffer = first.new_empty(peers.size * most)
    return all_gather(buffer, mine, group=peers.group, async_op=True), buffer, pieces


def _finish(work: Any, buffer: Tensor, pieces: list[_Piece], peers: Ranks) -> None:
    work.wait()
    for rank, of_rank in enumerate(buffer.view(peers.size, -1)):
        at = 0
        for piece in pieces:
            region = piece.regions[rank]
            if rank != peers.rank:
                piece.weight[index_of(region)] = of_rank[at : at + count_of(region)].view(size_of(region))
            at += piece.most


def _buckets(cuts: Sequence[Cut], peers: Ranks) -> Iterator[list[_Piece]]:
    bucket: list[_Piece] = []
    size, most = 0, max(BUFFER_BYTES // peers.size, LEAST_BYTES_OF_A_RANK)
    for cut in cuts:
        for piece in _pieces(cut, peers, most):
            bucket.append(piece)
            size += piece.most * piece.weight.itemsize
            if size >= most:
                yield bucket
                bucket, size = [], 0
    if bucket:
        yield bucket


def _pieces(cut: Cut, peers: Ranks, most: int) -> Iterator[_Piece]:
    """Yield parts of a weight of about `most` bytes per rank, split further along the sharded dimension."""
    weight = cut.replica
    assert weight is not None
    regions = [cut.region(at) for at in peers.coordinates]
    dim = cut.placements[0].dim
    rows = max(stop - start for start, stop in (region[dim] for region in regions))
    bytes_of_row = weight.itemsize * max(1, weight.numel() // max(1, weight.shape[dim]))
    step = max(1, most // bytes_of_row)
    for first in range(0, rows, step):
        yield _Piece(weight, [_rows_of(region, dim, first, step) for region in regions])


def _rows_of(region: Region, dim: int, first: int, count: int) -> Region:
    start, stop = region[dim]
    rows = (min(stop, start + first), min(stop, start + first + count))
    return (*region[:dim], rows, *region[dim + 1 :])
