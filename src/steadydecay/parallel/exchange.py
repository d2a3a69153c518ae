"""One bucket of matrices on its way: the pieces of each go to its owner, and the owner's update comes back in pieces.

If there are replicas of all pieces (HSDP), each owner communicates with the ranks of its own replica alone. Afterwards
every rank passes on what it has received to the ranks that hold the same pieces.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, final

import torch
import torch.distributed as dist
from torch import Tensor

from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.rank_groups import Ranks
from steadydecay.parallel.regions import Region, count_of, index_of, size_of

# torch 2.13 has another name for it and warns about the old one.
all_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)


class Unit(NamedTuple):
    """A matrix whose update one rank computes: a whole tensor, or one entry of a stack.

    Attributes:
        cut: How the tensor is sharded.
        entry: The index in a stack of matrices, or () for a whole tensor.
        owner: The mesh coordinate of the rank that computes it.
    """

    cut: Cut
    entry: tuple[int, ...]
    owner: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cut.shape[len(self.entry) :]

    def region(self, coordinate: tuple[int, ...]) -> Region:
        """Return the region that a rank holds of it, empty if its part of the stack does not include the entry."""
        whole = self.cut.region(coordinate)
        of_stack, of_matrix = whole[: len(self.entry)], whole[len(self.entry) :]
        is_held = all(start <= at < stop for at, (start, stop) in zip(self.entry, of_stack, strict=True))
        return of_matrix if is_held else tuple((0, 0) for _ in of_matrix)

    def piece(self, local: Tensor, coordinate: tuple[int, ...]) -> Tensor:
        """Return a view of this rank's piece of it, where `local` is this rank's part of the tensor."""
        whole = self.cut.region(coordinate)
        index: list[Any] = []
        for at, (start, stop) in zip(self.entry, whole, strict=False):
            if not start <= at < stop:
                return local.new_empty(size_of(self.region(coordinate)))
            index.append(at - start)
        return local[tuple(index)] if index else local


class Sharers(NamedTuple):
    """The ranks that share some matrices.

    Attributes:
        pieces: The ranks that hold all pieces of one replica.
        replicas: The ranks that hold the same piece as this one.
    """

    pieces: Ranks
    replicas: Ranks

    def replica_of(self, coordinate: tuple[int, ...]) -> int:
        """Return the replica of a rank, as a rank of `replicas`."""
        here = self.replicas.coordinates[self.replicas.rank]
        along = [dim for dim in range(len(here)) if len({at[dim] for at in self.replicas.coordinates}) > 1]
        place = [coordinate[dim] for dim in along]
        return next(rank for rank, at in enumerate(self.replicas.coordinates) if [at[dim] for dim in along] == place)


@final
class Exchange:
    """Two all-to-alls of one bucket: `collect` and `deliver` start them, and `collected` and `delivered` wait for them.

    Args:
        units: The units, the same on every rank in the same order, of one dtype and device.
        sharers: The ranks that share them.
        update_dtype: The dtype in which updates travel.
    """

    def __init__(self, units: Sequence[Unit], sharers: Sharers, update_dtype: torch.dtype) -> None:
        self._units, self._sharers, self._update_dtype = units, sharers, update_dtype
        pieces, replicas = sharers
        self._here = pieces.coordinates[pieces.rank]
        self.owned = [unit for unit in units if unit.owner == self._here]
        # The region of each unit that each rank of this replica holds.
        self._regions_of_owned = [[unit.region(at) for unit in self.owned] for at in pieces.coordinates]
        # The units that the ranks of each replica own, and those of this replica by owner.
        self._of_replica: list[list[Unit]] = [[] for _ in range(replicas.size)]
        for unit in units:
            self._of_replica[sharers.replica_of(unit.owner)].append(unit)
        ours = self._of_replica[replicas.rank]
        self._of_owner = [[unit for unit in ours if unit.owner == at] for at in pieces.coordinates]

    def collect(self, pieces: Sequence[Tensor]) -> None:
        """Start to send this rank's piece of each unit to the unit's owner, if that is in its replica."""
        self._device = pieces[0].device
        piece_of = {id(unit): piece for unit, piece in zip(self._units, pieces, strict=True)}
        outgoing = [[piece_of[id(unit)] for unit in units] for units in self._of_owner]
        self._work, self._buffer = self._all_to_all(outgoing, self._regions_of_owned, pieces[0])

    def collected(self) -> list[Tensor]:
        """Return each unit that this rank owns, whole."""
        self._wait()
        whole = [self._buffer.new_empty(unit.shape) for unit in self.owned]
        arrived = iter(_split(self._buffer, list(chain.from_iterable(self._regions_of_owned))))
        for of_rank in self._regions_of_owned:
            for one, region in zip(whole, of_rank, strict=True):
                one[index_of(region)] = next(arrived)
        del self._buffer
        return whole

    def deliver(self, updates: Sequence[Tensor]) -> None:
        """Start to send the update of each unit that this rank owns, in pieces, to the ranks of its replica."""
        cast = [update.to(self._update_dtype) for update in updates]
        outgoing = [
            [update[index_of(region)] for update, region in zip(cast, of_rank, strict=True)]
            for of_rank in self._regions_of_owned
        ]
        arriving = [list(map(self._region_here, units)) for units in self._of_owner]
        like = torch.empty(0, dtype=self._update_dtype, device=self._device)
        self._work, self._buffer = self._all_to_all(outgoing, arriving, like)

    def delivered(self) -> list[Tensor]:
        """Return this rank's piece of the update of each unit."""
        self._wait()
        arrived = [unit for units in self._of_owner for unit in units]
        parts = _split(self._buffer, list(map(self._region_here, arrived)))
        del self._buffer
        piece_of = {id(unit): part for unit, part in zip(arrived, parts, strict=True)}
        if self._sharers.replicas.size > 1:
            piece_of = self._handed_on(piece_of)
        return [piece_of[id(unit)] for unit in self._units]

    def _handed_on(self, piece_of: dict[int, Tensor]) -> dict[int, Tensor]:
        """Add the pieces that ranks with the same piece of other replicas have received."""
        replicas = self._sharers.replicas
        counts = [sum(count_of(self._region_here(unit)) for unit in units) for units in self._of_replica]
        ours = [piece_of[id(unit)].reshape(-1) for unit in self._of_replica[replicas.rank]]
        sent = torch.zeros(max(counts), dtype=self._update_dtype, device=self._device)
        if ours:
            sent[: counts[replicas.rank]] = torch.cat(ours)
        received = sent.new_empty(replicas.size * len(sent))
        all_gather(received, sent, group=replicas.group)
        found: dict[int, Tensor] = {}
        for units, one, count in zip(self._of_replica, received.view(replicas.size, -1), counts, strict=True):
            parts = _split(one[:count], list(map(self._region_here, units)))
            found |= {id(unit): part for unit, part in zip(units, parts, strict=True)}
        return found

    def _region_here(self, unit: Unit) -> Region:
        return unit.region(self._here)

    def _wait(self) -> None:
        if self._work is not None:
            self._work.wait()

    def _all_to_all(
        self, outgoing: list[list[Tensor]], arriving: list[list[Region]], like: Tensor
    ) -> tuple[Any, Tensor]:
        leaving = [sum(piece.numel() for piece in pieces) for pieces in outgoing]
        counts = [sum(map(count_of, regions)) for regions in arriving]
        flat = [piece.reshape(-1) for pieces in outgoing for piece in pieces]
        sent = torch.cat(flat) if flat else like.new_empty(0)
        if self._sharers.pieces.size == 1:
            return None, sent
        received = like.new_empty(sum(counts))
        group = self._sharers.pieces.group
        return dist.all_to_all_single(received, sent, counts, leaving, group=group, async_op=True), received


def _split(buffer: Tensor, regions: Sequence[Region]) -> list[Tensor]:
    parts = buffer.split([count_of(region) for region in regions])
    return [part.view(size_of(region)) for part, region in zip(parts, regions, strict=True)]
