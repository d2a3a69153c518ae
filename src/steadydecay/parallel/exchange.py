"""One bucket of matrices on its way: the pieces of each to its owner, and the owner's update back in pieces."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, final

import torch
import torch.distributed as dist
from torch import Tensor

from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.rank_groups import Ranks
from steadydecay.parallel.regions import Region, count_of, index_of, size_of


class Unit(NamedTuple):
    """A matrix whose update one rank computes: all of a tensor, or one entry of a stack.

    Attributes:
        cut: of the tensor.
        entry: which of a stack of matrices; () for all of the tensor.
        owner: the rank of the group that computes.
    """

    cut: Cut
    entry: tuple[int, ...]
    owner: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cut.shape[len(self.entry) :]

    def region(self, coordinate: tuple[int, ...]) -> Region:
        """What a rank holds of it; empty where its part of the stack does not reach to the entry."""
        whole = self.cut.region(coordinate)
        of_stack, of_matrix = whole[: len(self.entry)], whole[len(self.entry) :]
        is_held = all(start <= at < stop for at, (start, stop) in zip(self.entry, of_stack, strict=True))
        return of_matrix if is_held else tuple((0, 0) for _ in of_matrix)

    def piece(self, local: Tensor, coordinate: tuple[int, ...]) -> Tensor:
        """A view of what this rank, whose part of the tensor is `local`, holds of it."""
        whole = self.cut.region(coordinate)
        index: list[Any] = []
        for at, (start, stop) in zip(self.entry, whole, strict=False):
            if not start <= at < stop:
                return local.new_empty(size_of(self.region(coordinate)))
            index.append(at - start)
        return local[tuple(index)] if index else local

    def sends(self, coordinate: tuple[int, ...], owner: tuple[int, ...]) -> bool:
        """Whether a rank's piece goes to the owner: of ranks that hold the same, one does so."""
        placements = self.cut.placements
        return all(
            hasattr(placement, "dim") or one == other
            for placement, one, other in zip(placements, coordinate, owner, strict=True)
        )


@final
class Exchange:
    """Two all-to-alls of one bucket: `collect` and `deliver` start them, `collected` and `delivered` wait.

    Args:
        units: the same on every rank, in the same order; of one dtype and device.
        peers: the ranks that share them.
        update_dtype: in which updates travel.
    """

    def __init__(self, units: Sequence[Unit], peers: Ranks, update_dtype: torch.dtype) -> None:
        self.units, self._peers, self._update_dtype = units, peers, update_dtype
        self.owned = [unit for unit in units if unit.owner == peers.rank]
        self._here = peers.coordinates[peers.rank]
        self._of_owner = [[unit for unit in units if unit.owner == rank] for rank in range(peers.size)]

    def collect(self, pieces: Sequence[Tensor]) -> None:
        """Start to send this rank's piece of each unit to the owner."""
        sent = {id(unit): piece for unit, piece in zip(self.units, pieces, strict=True) if self._is_sent(unit)}
        outgoing = [[sent[id(unit)] for unit in units if id(unit) in sent] for units in self._of_owner]
        arriving = [sum(count_of(region) for _, region in self._arriving(at)) for at in self._peers.coordinates]
        self._work, self._buffer = self._all_to_all(outgoing, arriving, pieces[0])

    def collected(self) -> list[Tensor]:
        """Each unit that this rank owns, whole."""
        self._work.wait()
        whole = {id(unit): self._buffer.new_empty(unit.shape) for unit in self.owned}
        parts = iter(self._split(self._arriving(at) for at in self._peers.coordinates))
        for at in self._peers.coordinates:
            for unit, region in self._arriving(at):
                whole[id(unit)][index_of(region)] = next(parts)
        del self._buffer
        return [whole[id(unit)] for unit in self.owned]

    def deliver(self, updates: Sequence[Tensor], like: Tensor) -> None:
        """Start to send the update of each unit that this rank owns to all ranks that hold a piece of the unit."""
        of_unit = {id(unit): update.to(self._update_dtype) for unit, update in zip(self.owned, updates, strict=True)}
        outgoing = [
            [of_unit[id(unit)][index_of(unit.region(at))] for unit in self.owned] for at in self._peers.coordinates
        ]
        arriving = [sum(count_of(unit.region(self._here)) for unit in units) for units in self._of_owner]
        self._work, self._buffer = self._all_to_all(outgoing, arriving, like.new_empty(0, dtype=self._update_dtype))

    def delivered(self) -> list[Tensor]:
        """This rank's piece of the update of each unit."""
        self._work.wait()
        from_owners = [[(unit, unit.region(self._here)) for unit in units] for units in self._of_owner]
        arrived = iter(self._split(from_owners))
        piece = {id(unit): next(arrived) for units in self._of_owner for unit in units}
        del self._buffer
        return [piece[id(unit)] for unit in self.units]

    def _is_sent(self, unit: Unit) -> bool:
        return unit.sends(self._here, self._peers.coordinates[unit.owner])

    def _arriving(self, coordinate: tuple[int, ...]) -> list[tuple[Unit, Region]]:
        """What comes to this rank from the one at this coordinate."""
        return [(unit, unit.region(coordinate)) for unit in self.owned if unit.sends(coordinate, self._here)]

    def _split(self, arrived: Iterable[Iterable[tuple[Unit, Region]]]) -> list[Tensor]:
        regions = [region for of_rank in arrived for _, region in of_rank]
        parts = self._buffer.split([count_of(region) for region in regions])
        return [part.view(size_of(region)) for part, region in zip(parts, regions, strict=True)]

    def _all_to_all(self, outgoing: list[list[Tensor]], arriving: list[int], like: Tensor) -> tuple[Any, Tensor]:
        counts = [sum(piece.numel() for piece in pieces) for pieces in outgoing]
        flat = [piece.reshape(-1) for pieces in outgoing for piece in pieces]
        sent = torch.cat(flat) if flat else like.new_empty(0)
        received = like.new_empty(sum(arriving))
        work = dist.all_to_all_single(received, sent, arriving, counts, group=self._peers.group, async_op=True)
        return work, received
