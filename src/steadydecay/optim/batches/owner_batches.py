"""Steps of weights that are cut over ranks: each matrix goes to one owner, vectors exchange their lengths alone.

While an owner computes the updates of one bucket of matrices, the next bucket is on its way to its owners, and the
updates of the one before are on their way back.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, Protocol, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from steadydecay.groups.settings import Group
from steadydecay.norms import fewest_dimensions, norm_for
from steadydecay.norms.protocol import Norm
from steadydecay.optim.batches.alike_parts import LARGEST_CPU_CHUNK
from steadydecay.optim.batches.parts import Number, Part, PartsOfGroup, StepBatch, batch_of
from steadydecay.optim.batches.shape_batches import in_shape_batches, lmo_cost, lmo_of_each
from steadydecay.parallel.cut_vectors import CutVectors, unit_vectors_over_ranks_
from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.exchange import Exchange, Unit
from steadydecay.parallel.gathering import gather
from steadydecay.parallel.owners import buckets_of, owners_of
from steadydecay.parallel.peers import PeerGroups, Peers

# Of a bucket, for each rank that shares it: several buckets of a small model, and few collectives.
BYTES_OF_A_RANK = 2**23


class Algorithm(Protocol):
    """What an optimizer does before and after its linear minimisation oracle."""

    def directions(self, batch: StepBatch, group: Group) -> Sequence[Tensor]: ...

    def descend(self, batch: StepBatch, updates: Sequence[Tensor], group: Group, decay: Number) -> None: ...

    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None: ...


class CutPart(NamedTuple):
    """A part whose update depends on what other ranks hold.

    Attributes:
        part: what is here.
        cut: of the whole weight.
        norm: of the whole weight.
        of: its group.
    """

    part: Part
    cut: Cut
    norm: Norm
    of: PartsOfGroup

    @property
    def stacked(self) -> int:
        """How many leading dimensions are a stack of matrices."""
        return len(self.cut.shape) - fewest_dimensions(self.norm)

    def entries(self) -> Iterator[tuple[int, ...]]:
        """Each matrix of the stack that some rank of those that share this weight holds."""
        apart = {dim for mesh_dim in self.apart for cut_dim, dim in _cuts(self.cut) if cut_dim == mesh_dim}
        here = self.cut.own_region()
        ranges = [range(*here[dim]) if dim in apart else range(self.cut.shape[dim]) for dim in range(self.stacked)]
        return product(*ranges)

    @property
    def apart(self) -> tuple[int, ...]:
        """Dimensions of the mesh whose ranks hold different matrices of a stack (experts), each its own."""
        return self.cut.cutting(range(self.stacked)) if self.cut.replica is None else ()

    @property
    def shared(self) -> tuple[int, ...]:
        """Dimensions of the mesh whose ranks share each matrix."""
        return tuple(dim for dim in range(self.cut.mesh.ndim) if dim not in self.apart and self.cut.mesh.size(dim) > 1)


class Bucket(NamedTuple):
    """Matrices that are exchanged together.

    Attributes:
        indices: of the parts in the list that the plan was made of.
        units: of each part, in the same order.
        peers: the ranks that share them.
        update_dtype: in which updates travel.
    """

    indices: list[int]
    units: list[list[Unit]]
    peers: Peers
    update_dtype: torch.dtype


@final
class OwnerBatches:
    """The steps of one optimizer's cut weights; knows its process groups and the plan of its last step."""

    def __init__(self, peers: PeerGroups) -> None:
        self._peers = peers
        self._plans: dict[Any, list[Bucket]] = {}

    def step(self, groups: Sequence[PartsOfGroup], algorithm: Algorithm) -> None:
        """Step every part once; every rank calls it with the same weights in the same order."""
        here, vectors, matrices = _sorted_out(groups)
        in_shape_batches(here, algorithm.advance)
        _step_vectors(vectors, algorithm, self._peers)
        _step_matrices(matrices, self._plan(matrices), algorithm)
        _gather_replicas([part.cut for of in groups for part in of.parts if part.cut is not None], self._peers)

    def _plan(self, matrices: Sequence[CutPart]) -> list[Bucket]:
        key = tuple((id(one.cut), one.norm, one.part.average.dtype) for one in matrices)
        if key not in self._plans:
            # One at a time: others belong to weights that no longer have a gradient.
            self._plans = {key: _planned(matrices, self._peers)}
        return self._plans[key]


def _sorted_out(groups: Sequence[PartsOfGroup]) -> tuple[list[PartsOfGroup], list[CutPart], list[CutPart]]:
    """Parts whose update this rank finds alone, by group; those of cut vectors; those of matrices."""
    here, vectors, matrices = [], list[CutPart](), list[CutPart]()
    for of in groups:
        alone = []
        for part in of.parts:
            assert part.cut is not None
            one = CutPart(part, part.cut, norm_for(of.group["norm"], len(part.cut.shape)), of)
            (alone if _is_alone(one) else vectors if _dims(one.norm) is not None else matrices).append(one)
        here.append(of._replace(parts=[one.part for one in alone]))
    return here, vectors, matrices


def _is_alone(one: CutPart) -> bool:
    """Whether the part of the update that is here needs nothing from other ranks."""
    dims = _dims(one.norm)
    if dims is None:
        return not one.shared
    # The size of an entry of Sign depends on the length of a row.
    looked_at = {dim % len(one.cut.shape) for dim in dims or (-1,)}
    return not one.cut.cutting(looked_at)


def _dims(norm: Norm) -> tuple[int, ...] | None:
    return getattr(norm, "vector_dims", None)


def _step_vectors(vectors: Sequence[CutPart], algorithm: Algorithm, peers: PeerGroups) -> None:
    batches = [(batch_of([one.part for one in same]), same) for same in _of_one_group(vectors)]
    directions = [algorithm.directions(batch, same[0].of.group) for batch, same in batches]
    prepared = [
        _vectors(direction, one)
        for found, (_, same) in zip(directions, batches, strict=True)
        for direction, one in zip(found, same, strict=True)
    ]
    unit_vectors_over_ranks_([one for one in prepared if one.dims], peers)
    updates = iter(prepared)
    for batch, same in batches:
        lmos = [next(updates).part.to(weight.dtype) for weight in batch.weights]
        algorithm.descend(batch, lmos, same[0].of.group, same[0].of.decay)


def _vectors(direction: Tensor, one: CutPart) -> CutVectors:
    shape, dims = one.cut.shape, _dims(one.norm) or ()
    length = one.norm.vector_length(shape)  # pyright: ignore[reportAttributeAccessIssue]
    if not dims:
        return CutVectors(direction.sign().mul_(length), (), length, one.cut)
    wide = direction.to(torch.promote_types(direction.dtype, torch.float32), copy=True)
    return CutVectors(wide, tuple(dim % len(shape) for dim in dims), length, one.cut)


def _step_matrices(matrices: Sequence[CutPart], plan: Sequence[Bucket], algorithm: Algorithm) -> None:
    """The pipeline: collect the next bucket, compute this one, deliver it, and move by the one before."""
    started: list[_StartedBucket] = []
    for index, bucket in enumerate(plan):
        if index == 0:
            started.append(_StartedBucket(bucket, matrices, algorithm))
        if index + 1 < len(plan):
            started.append(_StartedBucket(plan[index + 1], matrices, algorithm))
        started[index].compute()
        if index > 0:
            started[index - 1].move()
    if started:
        started[-1].move()


@final
class _StartedBucket:
    """A bucket on its way to its owners."""

    def __init__(self, bucket: Bucket, matrices: Sequence[CutPart], algorithm: Algorithm) -> None:
        self._bucket, self._algorithm = bucket, algorithm
        self._parts = [matrices[index] for index in bucket.indices]
        self._here = bucket.peers.coordinates[bucket.peers.rank]
        self._batches = list(_of_one_group(self._parts))
        found: dict[int, Tensor] = {}
        self._of_batch = []
        for same in self._batches:
            batch = batch_of([one.part for one in same])
            self._of_batch.append(batch)
            directions = algorithm.directions(batch, same[0].of.group)
            found |= {id(one): direction for one, direction in zip(same, directions, strict=True)}
        units = [unit for of_part in bucket.units for unit in of_part]
        self._exchange = Exchange(units, bucket.peers, bucket.update_dtype)
        self._like = found[id(self._parts[0])].new_empty(0)
        self._exchange.collect(
            [
                unit.piece(found[id(one)], self._here)
                for one, of_part in zip(self._parts, bucket.units, strict=True)
                for unit in of_part
            ]
        )

    def compute(self) -> None:
        """The updates of what this rank owns, which then go back."""
        norm_of = {
            id(unit): one.norm for one, of_part in zip(self._parts, self._bucket.units, strict=True) for unit in of_part
        }
        whole = self._exchange.collected()
        updates = _updates(whole, [norm_of[id(unit)] for unit in self._exchange.owned])
        del whole
        self._exchange.deliver(updates, self._like)

    def move(self) -> None:
        """θ of every part by its update."""
        pieces = iter(self._exchange.delivered())
        updates = {
            id(one): _put_together(one, of_part, pieces, self._here)
            for one, of_part in zip(self._parts, self._bucket.units, strict=True)
        }
        for same, batch in zip(self._batches, self._of_batch, strict=True):
            of = same[0].of
            self._algorithm.descend(batch, [updates[id(one)] for one in same], of.group, of.decay)
        # What is left of it, whoever keeps the bucket.
        self._of_batch.clear()


def _put_together(one: CutPart, units: list[Unit], pieces: Iterator[Tensor], here: tuple[int, ...]) -> Tensor:
    """This rank's part of an update, of one matrix or of a stack of them."""
    arrived = [next(pieces) for _ in units]
    if not one.stacked:
        return arrived[0]
    update = one.part.weight.new_empty(one.part.weight.shape, dtype=arrived[0].dtype)
    for unit, piece in zip(units, arrived, strict=True):
        unit.piece(update, here).copy_(piece)
    return update


def _updates(matrices: Sequence[Tensor], norms: Sequence[Norm]) -> list[Tensor]:
    """The lmo of each matrix, those of one norm and shape as a stack."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for index, (matrix, norm) in enumerate(zip(matrices, norms, strict=True)):
        alike[norm, matrix.shape].append(index)
    updates: list[Tensor] = list(matrices)
    for (norm, _), indices in alike.items():
        for chunk in _chunks(norm, matrices, indices):
            lmos = lmo_of_each(norm, [matrices[index] for index in chunk])
            for index, lmo in zip(chunk, lmos, strict=True):
                updates[index] = lmo
    return updates


def _chunks(norm: Norm, matrices: Sequence[Tensor], indices: list[int]) -> Iterator[list[int]]:
    first = matrices[indices[0]]
    bytes_of_one = max(1, lmo_cost(norm, first).workspace_bytes)
    # On a GPU all that this rank owns of a bucket fits: it has come in one buffer.
    count = max(1, LARGEST_CPU_CHUNK // bytes_of_one) if first.device.type == "cpu" else len(indices)
    return (indices[start : start + count] for start in range(0, len(indices), count))


def _planned(matrices: Sequence[CutPart], peers: PeerGroups) -> list[Bucket]:
    """Which rank owns which matrix, and which matrices go together; the same on every rank."""
    shared: dict[tuple[DeviceMesh, tuple[int, ...]], list[int]] = defaultdict(list)
    for index, one in enumerate(matrices):
        shared[one.cut.mesh, one.shared].append(index)
    buckets: list[Bucket] = []
    for (mesh, mesh_dims), indices in shared.items():
        ranks = peers.along(mesh, mesh_dims)
        update_dtypes = _agreed_dtypes([matrices[index] for index in indices], ranks)
        alike: dict[Any, list[int]] = defaultdict(list)
        for index, dtype in zip(indices, update_dtypes, strict=True):
            alike[matrices[index].part.average.dtype, matrices[index].part.average.device, dtype].append(index)
        for (_, _, dtype), same in alike.items():
            buckets += _buckets(matrices, same, ranks, dtype)
    return buckets


def _buckets(matrices: Sequence[CutPart], indices: list[int], peers: Peers, dtype: torch.dtype) -> Iterator[Bucket]:
    costs = {index: _cost_of_one(matrices[index]) for index in indices}
    # The longest first, and those of one shape together.
    ordered = sorted(indices, key=lambda index: (-costs[index], matrices[index].cut.shape, index))
    entries = [list(matrices[index].entries()) for index in ordered]
    owners = iter(
        owners_of([costs[index] for index, of_one in zip(ordered, entries, strict=True) for _ in of_one], peers.size)
    )
    units = [
        [Unit(matrices[index].cut, entry, next(owners)) for entry in of_one]
        for index, of_one in zip(ordered, entries, strict=True)
    ]
    sizes = [matrices[index].part.average.itemsize * _entries(matrices[index].cut.shape) for index in ordered]
    for run in buckets_of(list(map(len, units)), sizes, peers.size, peers.size * BYTES_OF_A_RANK):
        yield Bucket(ordered[run], units[run], peers, dtype)


def _cost_of_one(one: CutPart) -> int:
    like = _unread(one)
    return lmo_cost(one.norm, like).multiplications or like.numel()


def _agreed_dtypes(parts: Sequence[CutPart], peers: Peers) -> list[torch.dtype]:
    """Of the updates: the lowest in which no rank's processor loses anything, for they need not be alike."""
    chosen = [_lmo_dtype(one) for one in parts]
    sizes = torch.tensor([dtype.itemsize for dtype in chosen], device=parts[0].part.average.device)
    dist.all_reduce(sizes, dist.ReduceOp.MAX, group=peers.group)
    return [
        dtype if dtype.itemsize == size else one.part.average.dtype
        for one, dtype, size in zip(parts, chosen, sizes.tolist(), strict=True)
    ]


def _lmo_dtype(one: CutPart) -> torch.dtype:
    own = getattr(one.norm, "lmo_dtype", None)
    like = _unread(one)
    return like.dtype if own is None else own(like)


def _unread(one: CutPart) -> Tensor:
    """Of the shape, dtype and device of one whole matrix, without its memory."""
    return one.part.average.new_empty(()).expand(one.cut.shape[one.stacked :])


def _of_one_group(parts: Sequence[CutPart]) -> Iterator[list[CutPart]]:
    """Lists of one group, dtype and dtype of gradients each."""
    alike: dict[Any, list[CutPart]] = defaultdict(list)
    for one in parts:
        part = one.part
        alike[id(one.of), part.weight.dtype, part.weight.device, part.gradient.dtype, part.weight.ndim].append(one)
    yield from alike.values()


def _gather_replicas(cuts: Sequence[Cut], peers: PeerGroups) -> None:
    alike: Mapping[Any, list[Cut]] = defaultdict(list)
    for cut in cuts:
        if cut.replica is not None:
            alike[cut.mesh, cut.replica.dtype, cut.replica.device].append(cut)
    for (mesh, _, _), same in alike.items():
        gather(same, peers.along(mesh, range(mesh.ndim)))


def _cuts(cut: Cut) -> list[tuple[int, Any]]:
    return [(index, one.dim) for index, one in enumerate(cut.placements) if hasattr(one, "dim")]


def _entries(shape: tuple[int, ...]) -> int:
    entries = 1
    for length in shape:
        entries *= length
    return entries
