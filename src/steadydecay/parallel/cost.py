"""What one step costs each rank, on paper: bytes that it sends and receives, products, state and temporaries.

The step's own functions say which rank owns which matrix, what it holds of it, and which matrices travel together.
`tests/parallel/test_cost.py` holds the bytes against counted collectives.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise, product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steadydecay.norms import fewest_dimensions
from steadydecay.norms.protocol import LmoCost, Norm
from steadydecay.parallel.gathering import BUFFER_BYTES, LEAST_BYTES_OF_A_RANK
from steadydecay.parallel.owners import buckets_of, owners_of
from steadydecay.parallel.regions import Region, count_of, cuts_in_order, region_of, size_of

# One for each weight, in the agreement on which of them have a gradient.
PRESENCE_BYTES = 1


class LaidOutWeight(NamedTuple):
    """A weight, and how a strategy lays it out over all ranks.

    Attributes:
        shape: of the whole weight.
        norm: of its update.
        mesh: ranks along each dimension; their product is the number of ranks, the last varies fastest.
        placements: of torch's DTensor, one for each dimension of the mesh; None where the weight's own mesh has no such
            dimension, so that the ranks along it know nothing of each other. A plain tensor has None alone.
        is_replica: whether every rank holds the whole weight and shares its state and its work by these placements
            (`DistributedDataParallel`).
        dtype: of weight, momentum and gradient.
        has_compensation: whether as many bytes as the momentum are kept of what rounding takes.
    """

    shape: tuple[int, ...]
    norm: Norm
    mesh: tuple[int, ...]
    placements: tuple[Any, ...]
    is_replica: bool = False
    dtype: torch.dtype = torch.float32
    has_compensation: bool = False


class Limits(NamedTuple):
    """Sizes that the step keeps to: constants of `steadydecay.optim.batches`, from which the callers take them.

    Attributes:
        bucket_bytes: of a bucket, for each rank that shares it, at least (`owner_batches.BYTES_OF_A_RANK`).
        chunk_bytes: of the workspace of one stack of matrices on a CPU (`alike_parts.LARGEST_CPU_CHUNK`).
    """

    bucket_bytes: int
    chunk_bytes: int


class StepCost(NamedTuple):
    """Of one step, for each rank in order.

    Attributes:
        received_bytes, sent_bytes: from and to other ranks, in all-to-alls and all-gathers.
        reduced_bytes: that go into all-reduces: presence of gradients, and lengths of cut vectors.
        multiplications: in the products of its updates, by the plain form.
        state_bytes: of momentum and compensation.
        temporary_bytes: the most at one time beside weights, gradients and state; without what the libraries of
            products and of collectives take for themselves.
        buckets: of which each takes two all-to-alls; those that the rank takes part in.
    """

    received_bytes: list[int]
    sent_bytes: list[int]
    reduced_bytes: list[int]
    multiplications: list[int]
    state_bytes: list[int]
    temporary_bytes: list[int]
    buckets: list[int]


def step_cost(weights: Sequence[LaidOutWeight], limits: Limits, device: torch.device) -> StepCost:
    """The cost of stepping these weights.

    Args:
        weights: of one optimizer, in its order; all over the same number of ranks.
        limits: of the step.
        device: whose products are planned for; "meta" stands for any GPU.

    Raises:
        ValueError: no weights, or weights over different numbers of ranks.
    """
    sizes = {math.prod(weight.mesh) for weight in weights}
    if len(sizes) != 1:
        raise ValueError(f"weights are over {sorted(sizes)} ranks; legal is one number of ranks for all weights")
    (ranks,) = sizes
    cost = StepCost(*([0] * ranks for _ in StepCost._fields))
    like = torch.empty((), device=device)
    for weight, alike in Counter(weights).items():
        _add_alone(cost, weight, alike, like)
    _add_matrices(cost, weights, limits, like)
    _add_gathering(cost, weights)
    return cost


def on_one_rank(weights: Iterable[LaidOutWeight], device: torch.device) -> StepCost:
    """The cost of stepping the same weights on one rank, which speaks to no other and keeps to no bucket."""
    alone = [one._replace(mesh=(1,), placements=(None,), is_replica=False) for one in weights]
    return step_cost(alone, Limits(0, 0), device)


def lmo_cost(norm: Norm, direction: Tensor) -> LmoCost:
    """As the norm says; a norm that does not say multiplies no matrices."""
    own = getattr(norm, "lmo_cost", None)
    return LmoCost(0, 0) if own is None else own(direction)


class _Group(NamedTuple):
    """Ranks that share matrices.

    Attributes:
        ranks: in order.
        coordinates: of each in the mesh.
    """

    ranks: list[int]
    coordinates: list[tuple[int, ...]]


class _Matrices(NamedTuple):
    """The matrices of one weight that a group of ranks shares, with what one of them costs."""

    weight: LaidOutWeight
    number: int
    cost: LmoCost

    @property
    def entries(self) -> int:
        """Of one matrix."""
        return math.prod(self.weight.shape[_stacked(self.weight) :])


# Of weights laid out alike: the place in the group of the owner of each of their matrices.
_Bucket = dict[_Matrices, list[int]]


class _Load(NamedTuple):
    """Entries of one rank in one bucket: of the pieces that it holds, of those that it sends, and of what it owns.

    `workspace` is in bytes, `delivered` are entries that it sends back, its own among them.
    """

    held: int
    sent: int
    owned: int
    delivered: int
    workspace: int


def _add_alone(cost: StepCost, weight: LaidOutWeight, alike: int, like: Tensor) -> None:
    """State, presence, vectors, and matrices of which each rank has its own."""
    is_cut, dims, is_own = bool(_known(weight)), _dims(weight), _is_matrix(weight) and not _shared(weight)
    for rank, region in enumerate(_regions(weight, _coordinates(weight.mesh))):
        shape = size_of(region)
        cost.state_bytes[rank] += alike * _state(weight, shape)
        if is_cut:
            cost.reduced_bytes[rank] += alike * PRESENCE_BYTES
        if dims and _is_cut_along(weight, dims):
            cost.reduced_bytes[rank] += alike * _bytes_of_lengths(weight, shape, dims)
        if is_own:
            local = like.to(weight.dtype).expand(shape)
            cost.multiplications[rank] += alike * lmo_cost(weight.norm, local).multiplications


def _bytes_of_lengths(weight: LaidOutWeight, shape: tuple[int, ...], dims: Sequence[int]) -> int:
    """The largest entry and the sum of squares of each vector, in float32 or better."""
    vectors = math.prod(1 if dim in dims else length for dim, length in enumerate(shape))
    return 2 * vectors * torch.promote_types(weight.dtype, torch.float32).itemsize


def _add_matrices(cost: StepCost, weights: Sequence[LaidOutWeight], limits: Limits, like: Tensor) -> None:
    shared: dict[Any, list[LaidOutWeight]] = defaultdict(list)
    for weight in weights:
        if _is_matrix(weight) and _shared(weight):
            key = (weight.mesh, _shared(weight), weight.dtype, _update_dtype(weight, like), *_known(weight))
            shared[key].append(weight)
    temporary: dict[int, int] = defaultdict(int)
    for (mesh, mesh_dims, _, update_dtype, *_), alike in shared.items():
        for group in _groups(mesh, mesh_dims):
            plan = _plan(alike, group, limits, like)
            for rank, peak in zip(group.ranks, _add_plan(cost, plan, group, update_dtype, limits, like), strict=True):
                # Those of one group are gone when the next begins.
                temporary[rank] = max(temporary[rank], peak)
    for rank, peak in temporary.items():
        cost.temporary_bytes[rank] += peak


def _plan(weights: Sequence[LaidOutWeight], group: _Group, limits: Limits, like: Tensor) -> list[_Bucket]:
    """As `steadydecay.optim.batches.owner_plan` makes it of weights that are there."""
    found = [_matrices(weight, group, like) for weight in weights]
    order = sorted(range(len(found)), key=lambda index: (-_effort(found[index]), weights[index].shape, index))
    ordered = [found[index] for index in order]
    costs = [_effort(one) for one in ordered for _ in range(one.number)]
    owners = owners_of(costs, len(group.ranks))
    ends = accumulate((one.number for one in ordered), initial=0)
    with_owners = [(one, owners[start:stop]) for one, (start, stop) in zip(ordered, pairwise(ends), strict=True)]
    sizes = [one.number * one.entries * one.weight.dtype.itemsize for one in ordered]
    ranks = len(group.ranks)
    runs = buckets_of([one.number for one in ordered], sizes, ranks, ranks * limits.bucket_bytes)
    return [_of_one_layout(with_owners[run]) for run in runs]


def _of_one_layout(bucket: Sequence[tuple[_Matrices, list[int]]]) -> _Bucket:
    owners: _Bucket = {}
    for one, of_one in bucket:
        owners.setdefault(one, []).extend(of_one)
    return owners


def _matrices(weight: LaidOutWeight, group: _Group, like: Tensor) -> _Matrices:
    (region,) = _regions(weight, group.coordinates[:1])
    held = size_of(region)
    stacked = _stacked(weight)
    apart = {dim for _, dim in cuts_in_order(weight.placements)}
    count = math.prod(held[dim] if dim in apart else weight.shape[dim] for dim in range(stacked))
    one = like.to(weight.dtype).expand(weight.shape[stacked:])
    return _Matrices(weight, count, lmo_cost(weight.norm, one))


def _effort(matrices: _Matrices) -> int:
    return matrices.cost.multiplications or matrices.entries


def _add_plan(
    cost: StepCost,
    plan: Sequence[_Bucket],
    group: _Group,
    update_dtype: torch.dtype,
    limits: Limits,
    like: Tensor,
) -> list[int]:
    """Add the bytes and the products of one plan; return its temporaries at one time, for each rank of the group."""
    loads = [_loads(bucket, group, limits, like) for bucket in plan]
    for rank in group.ranks:
        cost.buckets[rank] += len(plan)
    whole: _Bucket = _of_one_layout([pair for bucket in plan for pair in bucket.items()])
    for one, owners in whole.items():
        _add_bytes(cost, one, owners, group, update_dtype)
    itemsize = next(iter(whole)).weight.dtype.itemsize
    return [
        _peak([of_bucket[place] for of_bucket in loads], itemsize, update_dtype.itemsize)
        for place in range(len(group.ranks))
    ]


def _add_bytes(cost: StepCost, one: _Matrices, owners: list[int], group: _Group, update_dtype: torch.dtype) -> None:
    """Pieces go from one holder of each to the owner; the update goes from the owner to all holders."""
    pieces, classes = _pieces(one.weight, group), _replica_classes(one.weight, group)
    itemsize, of_update = one.weight.dtype.itemsize, update_dtype.itemsize
    owned, from_class = Counter(owners), Counter(classes[owner] for owner in owners)
    all_held = sum(pieces)
    for place, (rank, piece) in enumerate(zip(group.ranks, pieces, strict=True)):
        own = owned[place]
        cost.multiplications[rank] += own * one.cost.multiplications
        cost.received_bytes[rank] += own * (one.entries - piece) * itemsize + (len(owners) - own) * piece * of_update
        sent = (from_class[classes[place]] - own) * piece * itemsize
        cost.sent_bytes[rank] += sent + own * (all_held - piece) * of_update


def _loads(bucket: _Bucket, group: _Group, limits: Limits, like: Tensor) -> list[_Load]:
    held, sent, owned, delivered = ([0] * len(group.ranks) for _ in range(4))
    owned_alike: dict[tuple[Any, int], list[int]] = defaultdict(lambda: [0] * len(group.ranks))
    for one, owners in bucket.items():
        weight = one.weight
        pieces, classes = _pieces(weight, group), _replica_classes(weight, group)
        count_of_owner, from_class = Counter(owners), Counter(classes[owner] for owner in owners)
        all_held = sum(pieces)
        for place, piece in enumerate(pieces):
            held[place] += len(owners) * piece
            sent[place] += from_class[classes[place]] * piece
            owned[place] += count_of_owner[place] * one.entries
            delivered[place] += count_of_owner[place] * all_held
        alike = owned_alike[(weight.norm, weight.shape[_stacked(weight) :]), one.cost.workspace_bytes]
        for owner, count in count_of_owner.items():
            alike[owner] += count
    workspace = [0] * len(group.ranks)
    for (_, bytes_of_one), counts in owned_alike.items():
        for place, count in enumerate(counts):
            workspace[place] = max(workspace[place], _chunk_bytes(count, bytes_of_one, limits, like))
    return [_Load(*of_rank) for of_rank in zip(held, sent, owned, delivered, workspace, strict=True)]


def _chunk_bytes(count: int, bytes_of_one: int, limits: Limits, like: Tensor) -> int:
    at_once = count if like.device.type != "cpu" else min(count, max(1, limits.chunk_bytes // max(1, bytes_of_one)))
    return at_once * bytes_of_one


def _peak(loads: Sequence[_Load], itemsize: int, update_itemsize: int) -> int:
    """Bytes while one bucket is computed, the next arrives, and the one before goes back.

    Of the bucket itself: what has come beside the matrices put together of it; the matrices beside their updates and
    what makes those; or the matrices beside their updates on their way.
    """
    nothing = _Load(0, 0, 0, 0, 0)
    around = zip([nothing, *loads[:-1]], loads, [*loads[1:], nothing], strict=True)
    return max(
        (before.delivered + before.held) * update_itemsize
        + (after.sent + after.owned) * itemsize
        + max(
            (now.sent + 2 * now.owned) * itemsize,
            (now.sent + now.owned) * itemsize + now.owned * update_itemsize + now.workspace,
            now.owned * itemsize + (now.owned + now.delivered + now.held) * update_itemsize,
        )
        for before, now, after in around
    )


def _add_gathering(cost: StepCost, weights: Sequence[LaidOutWeight]) -> None:
    """Of weights that every rank holds whole: from each rank as many rows as the one with the most of them moves."""
    most: dict[int, int] = defaultdict(int)
    for weight in weights:
        if weight.is_replica:
            # torch.chunk gives the first rank the most.
            (region,) = _regions(weight, [(0,) * len(weight.mesh)])
            most[math.prod(weight.mesh[dim] for dim in _known(weight))] += count_of(region) * weight.dtype.itemsize
    for ranks, bytes_of_rank in most.items():
        # A bucket is closed once it is full, and may then hold nearly twice as much; two are there at one time.
        bucket = min(bytes_of_rank, 2 * max(BUFFER_BYTES // ranks, LEAST_BYTES_OF_A_RANK))
        for rank in range(len(cost.received_bytes)):
            cost.received_bytes[rank] += (ranks - 1) * bytes_of_rank
            cost.sent_bytes[rank] += (ranks - 1) * bytes_of_rank
            cost.temporary_bytes[rank] = max(cost.temporary_bytes[rank], 2 * bucket * (ranks + 1))


def _coordinates(mesh: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*map(range, mesh))


def _regions(weight: LaidOutWeight, coordinates: Iterable[tuple[int, ...]]) -> list[Region]:
    cuts = cuts_in_order(weight.placements)
    return [region_of(weight.shape, weight.mesh, coordinate, cuts) for coordinate in coordinates]


def _state(weight: LaidOutWeight, shape: Iterable[int]) -> int:
    return math.prod(shape) * weight.dtype.itemsize * (2 if weight.has_compensation else 1)


def _dims(weight: LaidOutWeight) -> tuple[int, ...]:
    """The dimensions that make up a vector, not negative; of Sign and of matrices none."""
    return tuple(dim % len(weight.shape) for dim in getattr(weight.norm, "vector_dims", None) or ())


def _is_matrix(weight: LaidOutWeight) -> bool:
    return getattr(weight.norm, "vector_dims", None) is None


def _is_cut_along(weight: LaidOutWeight, dims: Iterable[int]) -> bool:
    wanted = set(dims)
    return any(dim in wanted for mesh_dim, dim in cuts_in_order(weight.placements) if weight.mesh[mesh_dim] > 1)


def _stacked(weight: LaidOutWeight) -> int:
    """How many leading dimensions are a stack of matrices."""
    return len(weight.shape) - (fewest_dimensions(weight.norm) or len(weight.shape))


def _shared(weight: LaidOutWeight) -> tuple[int, ...]:
    """Dimensions of the mesh whose ranks share each matrix; along the others each has matrices of its own."""
    apart = {mesh_dim for mesh_dim, dim in cuts_in_order(weight.placements) if dim < _stacked(weight)}
    return tuple(mesh_dim for mesh_dim in _known(weight) if weight.is_replica or mesh_dim not in apart)


def _known(weight: LaidOutWeight) -> list[int]:
    """Dimensions of the mesh along which there are ranks that the weight knows of."""
    of_mesh = zip(weight.mesh, weight.placements, strict=True)
    return [mesh_dim for mesh_dim, (size, placement) in enumerate(of_mesh) if size > 1 and placement is not None]


def _update_dtype(weight: LaidOutWeight, like: Tensor) -> torch.dtype:
    own = getattr(weight.norm, "lmo_dtype", None)
    one = like.to(weight.dtype).expand(weight.shape[_stacked(weight) :])
    return one.dtype if own is None else own(one)


def _groups(mesh: tuple[int, ...], mesh_dims: tuple[int, ...]) -> list[_Group]:
    """Ranks that differ along these dimensions of the mesh alone."""
    groups: dict[tuple[int, ...], _Group] = {}
    for rank, coordinate in enumerate(_coordinates(mesh)):
        fixed = tuple(at for dim, at in enumerate(coordinate) if dim not in mesh_dims)
        group = groups.setdefault(fixed, _Group([], []))
        group.ranks.append(rank)
        group.coordinates.append(coordinate)
    return list(groups.values())


def _pieces(weight: LaidOutWeight, group: _Group) -> list[int]:
    """Entries of one of its matrices that each rank of the group holds."""
    stacked = _stacked(weight)
    return [count_of(region[stacked:]) for region in _regions(weight, group.coordinates)]


def _replica_classes(weight: LaidOutWeight, group: _Group) -> list[tuple[int, ...]]:
    """Ranks of one class hold different pieces, which together are the whole matrix (`exchange.Unit.sends`)."""
    replicated = [dim for dim, placement in enumerate(weight.placements) if not hasattr(placement, "dim")]
    return [tuple(coordinate[dim] for dim in replicated) for coordinate in group.coordinates]
