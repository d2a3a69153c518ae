"""The cost of one step for each rank, computed without running it: communication, products, state and temporaries.

The step's own functions say which rank owns which matrix, what it holds of it, and which matrices travel together.
`tests/optim/batches/test_step_cost.py` compares the result with counted collectives.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from steadydecay.optim.batches.laid_out import LaidOutWeight, RankGroup, coordinates_of, groups_along
from steadydecay.optim.batches.paper_plan import Bucket, Matrices, plan_of, together, update_dtype
from steadydecay.optim.batches.shape_batches import lmo_cost
from steadydecay.parallel.gathering import BUFFER_BYTES, LEAST_BYTES_OF_A_RANK
from steadydecay.parallel.regions import count_of, size_of

# The bytes for each weight in the agreement on which of them have a gradient.
PRESENCE_BYTES = 2


class Limits(NamedTuple):
    """Sizes that the step keeps to. They are constants of `steadydecay.optim.batches`, from which the callers take
    them.

    Attributes:
        bucket_bytes: The smallest size of a bucket for each rank that shares it (`owner_plan.BYTES_OF_A_RANK`).
        chunk_bytes: The largest workspace of one stack of matrices on a CPU (`alike_parts.LARGEST_CPU_CHUNK`).
    """

    bucket_bytes: int
    chunk_bytes: int


class StepCost(NamedTuple):
    """The cost of one step, for each rank in order.

    Attributes:
        received_bytes, sent_bytes: Bytes from and to other ranks in all-to-alls and all-gathers.
        reduced_bytes: Bytes that go into all-reduces: the presence of gradients, and the lengths of sharded vectors.
        multiplications: Multiplications in the products of its updates, counted by the plain form.
        state_bytes: Bytes of momentum and compensation.
        temporary_bytes: The most bytes at one time for exchange and products, besides weights, gradients and state, and
            without what the libraries of products and collectives take for themselves.
        buckets: The number of buckets that the rank takes part in, each of which takes two all-to-alls.
    """

    received_bytes: list[int]
    sent_bytes: list[int]
    reduced_bytes: list[int]
    multiplications: list[int]
    state_bytes: list[int]
    temporary_bytes: list[int]
    buckets: list[int]


def step_cost(weights: Sequence[LaidOutWeight], limits: Limits, device: torch.device) -> StepCost:
    """Return the cost of stepping these weights.

    Args:
        weights: The weights of one optimizer, in its order, all over the same number of ranks. Their norms must be
            hashable.
        limits: The limits of the step.
        device: The device whose products are planned for. It need not be available.

    Raises:
        ValueError: There are no weights, or they are over different numbers of ranks.
    """
    sizes = {math.prod(weight.mesh) for weight in weights}
    if len(sizes) != 1:
        raise ValueError(f"weights are over {sorted(sizes)} ranks; they must all be over the same number of ranks")
    (ranks,) = sizes
    cost = StepCost(*([0] * ranks for _ in StepCost._fields))
    with FakeTensorMode():
        like = torch.empty((), device=device)
    for weight, alike in Counter(weights).items():
        _add_alone(cost, weight, alike, like)
    _add_matrices(cost, weights, limits, like)
    _add_gathering(cost, weights)
    return cost


def on_one_rank(weights: Iterable[LaidOutWeight], device: torch.device) -> StepCost:
    """Return the cost of stepping the same weights on one rank, which needs neither communication nor buckets."""
    alone = [one._replace(mesh=(1,), placements=(None,), is_replica=False) for one in weights]
    return step_cost(alone, Limits(0, 0), device)


def _add_alone(cost: StepCost, weight: LaidOutWeight, alike: int, like: Tensor) -> None:
    """Add the cost of state, of presence, of vectors, and of matrices of which each rank has its own."""
    is_known, is_vector_cut = bool(weight.known), weight.is_cut_along(weight.vector_dims)
    is_own = weight.is_of_matrices and not weight.shared
    multiplications = cache(lambda shape: lmo_cost(weight.norm, like.to(weight.dtype).expand(shape)).multiplications)
    for rank, region in enumerate(weight.regions(coordinates_of(weight.mesh))):
        shape = size_of(region)
        cost.state_bytes[rank] += alike * weight.state_bytes(shape)
        if is_known:
            cost.reduced_bytes[rank] += alike * PRESENCE_BYTES
        if is_vector_cut:
            cost.reduced_bytes[rank] += alike * _bytes_of_lengths(weight, shape)
        if is_own:
            cost.multiplications[rank] += alike * multiplications(shape)


def _bytes_of_lengths(weight: LaidOutWeight, shape: tuple[int, ...]) -> int:
    """Return the bytes of the largest entry and the sum of squares of each vector, in float32 or better."""
    vectors = math.prod(1 if dim in weight.vector_dims else length for dim, length in enumerate(shape))
    return 2 * vectors * torch.promote_types(weight.dtype, torch.float32).itemsize


def _add_matrices(cost: StepCost, weights: Sequence[LaidOutWeight], limits: Limits, like: Tensor) -> None:
    sharing: dict[Any, list[LaidOutWeight]] = defaultdict(list)
    for weight in weights:
        if weight.is_of_matrices and weight.shared:
            sharing[weight.mesh, weight.known, weight.shared].append(weight)
    loads_of_ranks = [0] * len(cost.multiplications)
    # In the order of real owners: small groups first, counting the work that each rank already has.
    for (mesh, _, shared), of_mesh in sorted(sharing.items(), key=_group_size):
        alike: dict[Any, list[LaidOutWeight]] = defaultdict(list)
        update_dtypes = {weight: update_dtype(weight, like) for weight in dict.fromkeys(of_mesh)}
        for weight in of_mesh:
            alike[weight.dtype, update_dtypes[weight], weight.cut].append(weight)
        for group in groups_along(mesh, shared):
            loads = [loads_of_ranks[rank] for rank in group.ranks]
            _add_group(cost, alike, group, limits, like, loads)
            for rank, load in zip(group.ranks, loads, strict=True):
                loads_of_ranks[rank] = load


def _group_size(sharing: tuple[Any, Any]) -> int:
    (mesh, _, shared), _ = sharing
    return math.prod(mesh[dim] for dim in shared)


def _add_group(
    cost: StepCost,
    alike: Mapping[Any, Sequence[LaidOutWeight]],
    group: RankGroup,
    limits: Limits,
    like: Tensor,
    loads: list[int],
) -> None:
    """Add the cost of a group of ranks, whose owners are assigned over all of its plans. `loads` is written to."""
    for (dtype, of_update, _), weights in alike.items():
        plan = plan_of(weights, group, limits.bucket_bytes, like, loads)
        for matrices, owners in together(pair for bucket in plan for pair in bucket.items()).items():
            _add_exchange(cost, matrices, owners, group, of_update)
        _add_buckets(cost, plan, group, limits, like, dtype.itemsize, of_update.itemsize)


def _add_exchange(
    cost: StepCost, matrices: Matrices, owners: Sequence[int], group: RankGroup, update_dtype: torch.dtype
) -> None:
    """Add the cost of sending pieces to the owner from the ranks of its replica, and its update back to them."""
    weight, entries = matrices.weight, matrices.entries
    pieces, classes = weight.pieces(group), weight.replica_classes(group)
    owned, from_class = Counter(owners), Counter(classes[owner] for owner in owners)
    itemsize, of_update = weight.dtype.itemsize, update_dtype.itemsize
    for place, (rank, piece) in enumerate(zip(group.ranks, pieces, strict=True)):
        own, of_replica = owned[place], from_class[classes[place]]
        cost.multiplications[rank] += own * matrices.cost.multiplications
        cost.received_bytes[rank] += own * (entries - piece) * itemsize + (of_replica - own) * piece * of_update
        cost.sent_bytes[rank] += (of_replica - own) * piece * itemsize + own * (entries - piece) * of_update


class _Load(NamedTuple):
    """The load of one rank in one bucket.

    Attributes:
        held: Entries of its pieces.
        sent: Entries of the pieces that go to owners, including itself, and come back.
        owned: Entries of its matrices, and of the updates that it sends, also to itself.
        handed_on: Entries that go to each rank that holds the same pieces in another replica.
        replicas: The number of replicas.
        workspace: Bytes of workspace.
    """

    held: int
    sent: int
    owned: int
    handed_on: int
    replicas: int
    workspace: int


def _add_buckets(
    cost: StepCost,
    plan: Sequence[Bucket],
    group: RankGroup,
    limits: Limits,
    like: Tensor,
    itemsize: int,
    update_itemsize: int,
) -> None:
    loads = [_loads(bucket, group, limits, like) for bucket in plan]
    for place, rank in enumerate(group.ranks):
        of_rank = [of_bucket[place] for of_bucket in loads]
        handed_on = sum((load.replicas - 1) * load.handed_on for load in of_rank) * update_itemsize
        cost.received_bytes[rank] += handed_on
        cost.sent_bytes[rank] += handed_on
        cost.buckets[rank] += len(plan)
        # The temporaries of one plan are freed when the next begins.
        cost.temporary_bytes[rank] = max(cost.temporary_bytes[rank], _peak(of_rank, itemsize, update_itemsize))


def _loads(bucket: Bucket, group: RankGroup, limits: Limits, like: Tensor) -> list[_Load]:
    held, sent, owned, workspace = ([0] * len(group.ranks) for _ in range(4))
    for matrices, owners in bucket.items():
        pieces, classes = matrices.weight.pieces(group), matrices.weight.replica_classes(group)
        count_of_owner, from_class = Counter(owners), Counter(classes[owner] for owner in owners)
        for place, piece in enumerate(pieces):
            held[place] += len(owners) * piece
            sent[place] += from_class[classes[place]] * piece
            owned[place] += count_of_owner[place] * matrices.entries
            needed = _chunk_bytes(count_of_owner[place], matrices.cost.workspace_bytes, limits, like)
            workspace[place] = max(workspace[place], needed)
    handed_on, replicas = _handed_on(bucket, group)
    return [
        _Load(*of_rank[:4], replicas, of_rank[4])
        for of_rank in zip(held, sent, owned, handed_on, workspace, strict=True)
    ]


def _handed_on(bucket: Bucket, group: RankGroup) -> tuple[list[int], int]:
    """Return the entries of the replica that owns the most, which each rank passes on, and the number of replicas."""
    by_weight = [
        (matrices.weight.pieces(group), Counter(matrices.weight.replica_classes(group)[owner] for owner in owners))
        for matrices, owners in bucket.items()
    ]
    classes = set(next(iter(bucket)).weight.replica_classes(group))
    if len(classes) == 1:
        return [0] * len(group.ranks), 1
    most: dict[tuple[int, ...], int] = {}
    for held in set(zip(*(pieces for pieces, _ in by_weight), strict=True)):
        most[held] = max(
            sum(piece * owned[one] for piece, (_, owned) in zip(held, by_weight, strict=True)) for one in classes
        )
    return [most[held] for held in zip(*(pieces for pieces, _ in by_weight), strict=True)], len(classes)


def _chunk_bytes(count: int, bytes_of_one: int, limits: Limits, like: Tensor) -> int:
    at_once = count if like.device.type != "cpu" else min(count, max(1, limits.chunk_bytes // max(1, bytes_of_one)))
    return at_once * bytes_of_one


def _peak(loads: Sequence[_Load], itemsize: int, update_itemsize: int) -> int:
    """Return the most bytes while one bucket is computed, the next arrives, and the previous one goes back.

    The bucket itself needs its arrived pieces beside the matrices put together from them; then the matrices beside
    their updates and workspace; then the matrices beside the updates on their way; or these beside what is passed on
    from the last.
    """
    nothing = _Load(0, 0, 0, 0, 1, 0)
    around = zip([nothing, *loads[:-1]], loads, [*loads[1:], nothing], strict=True)
    return max(
        (before.owned + before.sent) * update_itemsize
        + (after.sent + after.owned) * itemsize
        + max(
            (now.sent + 2 * now.owned) * itemsize,
            (now.sent + now.owned) * itemsize + now.owned * update_itemsize + now.workspace,
            now.owned * itemsize + (2 * now.owned + now.sent) * update_itemsize,
            (now.owned + now.sent + (before.replicas + 1) * before.handed_on) * update_itemsize,
        )
        for before, now, after in around
    )


def _add_gathering(cost: StepCost, weights: Sequence[LaidOutWeight]) -> None:
    """Add the cost of gathering weights that every rank holds whole; each rank sends as many rows as the busiest."""
    most: dict[int, int] = defaultdict(int)
    for weight in weights:
        if weight.is_replica:
            # torch.chunk gives the first rank the most.
            (region,) = weight.regions([(0,) * len(weight.mesh)])
            most[math.prod(weight.mesh[dim] for dim in weight.known)] += count_of(region) * weight.dtype.itemsize
    for ranks, bytes_of_rank in most.items():
        # A bucket is closed once it is full, and may then hold nearly twice as much. Two exist at the same time.
        bucket = min(bytes_of_rank, 2 * max(BUFFER_BYTES // ranks, LEAST_BYTES_OF_A_RANK))
        for rank in range(len(cost.received_bytes)):
            cost.received_bytes[rank] += (ranks - 1) * bytes_of_rank
            cost.sent_bytes[rank] += (ranks - 1) * bytes_of_rank
            cost.temporary_bytes[rank] = max(cost.temporary_bytes[rank], 2 * bucket * (ranks + 1))
