"""Steps of sharded weights: each matrix goes to one owner, and vectors exchange only their lengths.

While an owner computes the updates of one bucket of matrices, the next bucket is on its way to its owners, and the
updates of the previous one are on their way back.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, final

import torch
from torch import Tensor

from steadydecay.groups.settings import Group
from steadydecay.norms.protocol import Norm
from steadydecay.optim.batches.alike_parts import LARGEST_CPU_CHUNK
from steadydecay.optim.batches.cut_parts import CutPart, cut_parts, of_one_group
from steadydecay.optim.batches.owner_plan import Bucket, planned
from steadydecay.optim.batches.parts import Number, PartsOfGroup, StepBatch, batch_of
from steadydecay.optim.batches.shape_batches import in_shape_batches, lmo_cost, lmo_of_each
from steadydecay.parallel.cut_vectors import CutVectors, unit_vectors_over_ranks_
from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.exchange import Exchange, Unit
from steadydecay.parallel.gathering import gather
from steadydecay.parallel.rank_groups import RankGroups


class Algorithm(Protocol):
    """What an optimizer does before its linear minimisation oracle, after it, and in all."""

    def directions(self, batch: StepBatch, group: Group) -> Sequence[Tensor]: ...

    def descend(self, batch: StepBatch, updates: Sequence[Tensor], group: Group, decay: Number) -> None: ...

    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None: ...


@final
class OwnerBatches:
    """The steps of one optimizer's sharded weights. It remembers the plan of its last step."""

    def __init__(self, peers: RankGroups) -> None:
        self._peers = peers
        self._plans: dict[Any, list[Bucket]] = {}

    def step(self, groups: Sequence[PartsOfGroup], algorithm: Algorithm) -> None:
        """Step every part once. All are sharded, and every rank calls this with the same weights in the same order."""
        parts = cut_parts(groups)
        alone = {id(one.part) for one in parts if one.is_alone}
        in_shape_batches(
            [of._replace(parts=[part for part in of.parts if id(part) in alone]) for of in groups], algorithm.advance
        )
        others = [one for one in parts if id(one.part) not in alone]
        _step_vectors([one for one in others if one.vector_dims is not None], algorithm, self._peers)
        matrices = [one for one in others if one.vector_dims is None]
        _step_matrices(matrices, self._plan(matrices), algorithm)
        _gather_replicas([one.cut for one in parts], self._peers)

    def _plan(self, matrices: Sequence[CutPart]) -> list[Bucket]:
        key = tuple((id(one.cut), repr(one.norm), one.part.average.dtype) for one in matrices)
        if key not in self._plans:
            # Keep one plan at a time: others belong to weights that no longer have a gradient.
            self._plans = {key: planned(matrices, self._peers)}
        return self._plans[key]


def _step_vectors(vectors: Sequence[CutPart], algorithm: Algorithm, peers: RankGroups) -> None:
    batches = [(batch_of([one.part for one in same]), same) for same in of_one_group(vectors)]
    cut_vectors = [list(map(_vectors, algorithm.directions(batch, same[0].of.group), same)) for batch, same in batches]
    unit_vectors_over_ranks_([vectors for of_batch in cut_vectors for vectors in of_batch if vectors.dims], peers)
    for (batch, same), of_batch in zip(batches, cut_vectors, strict=True):
        updates = [vectors.part.to(weight.dtype) for vectors, weight in zip(of_batch, batch.weights, strict=True)]
        algorithm.descend(batch, updates, same[0].of.group, same[0].of.decay)


def _vectors(direction: Tensor, one: CutPart) -> CutVectors:
    length = one.norm.vector_length(one.cut.shape)  # pyright: ignore[reportAttributeAccessIssue]
    if not one.vector_dims:
        return CutVectors(direction.sign().mul_(length), (), length, one.cut)
    wide = direction.to(torch.promote_types(direction.dtype, torch.float32), copy=True)
    return CutVectors(wide, one.vector_dims, length, one.cut)


def _step_matrices(matrices: Sequence[CutPart], plan: Sequence[Bucket], algorithm: Algorithm) -> None:
    """Run the pipeline: collect the next bucket, compute this one, deliver it, and move by the previous one."""
    waiting = (_StartedBucket(bucket, matrices, algorithm) for bucket in plan)
    following, before = next(waiting, None), None
    while following is not None:
        bucket, following = following, next(waiting, None)
        bucket.compute()
        if before is not None:
            before.move()
        before = bucket
    if before is not None:
        before.move()


@final
class _StartedBucket:
    """A bucket on its way to its owners."""

    def __init__(self, bucket: Bucket, matrices: Sequence[CutPart], algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        pieces = bucket.sharers.pieces
        self._here = pieces.coordinates[pieces.rank]
        self._parts = [matrices[index] for index in bucket.indices]
        self._units = {id(one): units for one, units in zip(self._parts, bucket.units, strict=True)}
        self._batches = [(batch_of([one.part for one in same]), same) for same in of_one_group(self._parts)]
        directions = {
            id(one): direction
            for batch, same in self._batches
            for one, direction in zip(same, algorithm.directions(batch, same[0].of.group), strict=True)
        }
        in_order = [(one, unit) for one in self._parts for unit in self._units[id(one)]]
        self._norms = {id(unit): one.norm for one, unit in in_order}
        self._exchange = Exchange([unit for _, unit in in_order], bucket.sharers, bucket.update_dtype)
        self._exchange.collect([unit.piece(directions[id(one)], self._here) for one, unit in in_order])

    def compute(self) -> None:
        """Compute the updates of what this rank owns, and start to send them back."""
        whole = self._exchange.collected()
        updates = updates_of(whole, [self._norms[id(unit)] for unit in self._exchange.owned])
        self._exchange.deliver(updates)

    def move(self) -> None:
        """Move θ of every part by its update."""
        pieces = iter(self._exchange.delivered())
        updates = {id(one): _put_together(one, self._units[id(one)], pieces, self._here) for one in self._parts}
        for batch, same in self._batches:
            of = same[0].of
            self._algorithm.descend(batch, [updates[id(one)] for one in same], of.group, of.decay)


def updates_of(matrices: Sequence[Tensor], norms: Sequence[Norm]) -> list[Tensor]:
    """Return the LMO of each matrix under its norm, computing those of one norm and shape together."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for index, (matrix, norm) in enumerate(zip(matrices, norms, strict=True)):
        alike[repr(norm), matrix.shape].append(index)
    updates: dict[int, Tensor] = {}
    for indices in alike.values():
        norm = norms[indices[0]]
        for chunk in _chunks(norm, matrices, indices):
            updates |= zip(chunk, lmo_of_each(norm, [matrices[index] for index in chunk]), strict=True)
    return [updates[index] for index in range(len(matrices))]


def _chunks(norm: Norm, matrices: Sequence[Tensor], indices: list[int]) -> Iterator[list[int]]:
    first = matrices[indices[0]]
    bytes_of_one = max(1, lmo_cost(norm, first).workspace_bytes)
    # On a GPU everything that this rank owns of a bucket fits, because it has arrived in one buffer.
    count = max(1, LARGEST_CPU_CHUNK // bytes_of_one) if first.device.type == "cpu" else len(indices)
    return (indices[start : start + count] for start in range(0, len(indices), count))


def _put_together(one: CutPart, units: list[Unit], pieces: Iterator[Tensor], here: tuple[int, ...]) -> Tensor:
    """Return this rank's part of an update, for one matrix or for a stack of them."""
    arrived = [next(pieces) for _ in units]
    if not one.stacked:
        return arrived[0]
    update = one.part.weight.new_empty(one.part.weight.shape, dtype=arrived[0].dtype if arrived else None)
    for unit, piece in zip(units, arrived, strict=True):
        unit.piece(update, here).copy_(piece)
    return update


def _gather_replicas(cuts: Sequence[Cut], peers: RankGroups) -> None:
    alike: Mapping[Any, list[Cut]] = defaultdict(list)
    for cut in cuts:
        if cut.replica is not None:
            alike[cut.mesh, cut.replica.dtype, cut.replica.device].append(cut)
    for (mesh, _, _), same in alike.items():
        gather(same, peers.along(mesh, range(mesh.ndim)))
