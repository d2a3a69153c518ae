"""Every matrix has one owner, no owner much more than its share, and every bucket work for all."""

import random

import pytest

from steadydecay.parallel.owners import buckets_of, owners_of


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
def test_no_rank_has_more_than_its_share_and_one_unit(ranks: int) -> None:
    drawn = random.Random(0)
    costs = sorted((drawn.randint(1, 1000) for _ in range(200)), reverse=True)
    loads = [0] * ranks
    for cost, owner in zip(costs, owners_of(costs, ranks), strict=True):
        loads[owner] += cost
    assert max(loads) <= sum(costs) / ranks + costs[0]
    assert max(loads) <= 4 / 3 * max(sum(costs) / ranks, costs[0])


def test_fewer_matrices_than_ranks_leave_ranks_idle() -> None:
    assert owners_of([5, 5], 4) == [0, 1]
    assert owners_of([], 4) == []


# Large and small matrices as in 12 layers of GPT-2; in order of the ranks, the first of 8 replicas got 1.8 shares.
@pytest.mark.parametrize("replicas", [1, 2, 4, 8])
def test_replicas_of_eight_ranks_get_the_same_share(replicas: int) -> None:
    costs = [45] * 24 + [15] * 48
    replica_of = [rank // 8 for rank in range(8 * replicas)]
    shares, loads = [0] * replicas, [0] * len(replica_of)
    for cost, owner in zip(costs, owners_of(costs, len(replica_of), loads, replica_of), strict=True):
        shares[replica_of[owner]] += cost
    assert max(shares) == sum(costs) / replicas
    in_order = [0] * len(replica_of)
    owners_of(costs, len(replica_of), in_order)
    assert sorted(loads) == sorted(in_order)


@pytest.mark.parametrize("counts", [[1] * 10, [3, 1, 4, 1, 5], [0, 8], []])
def test_buckets_are_the_whole_list_in_order(counts: list[int]) -> None:
    indices = range(len(counts))
    runs = list(buckets_of(counts, [7] * len(counts), ranks=2, least_bytes=14))
    assert [index for run in runs for index in indices[run]] == list(indices)


def test_a_bucket_ends_where_every_rank_has_as_much() -> None:
    assert [run.stop - run.start for run in buckets_of([1] * 8, [1] * 8, ranks=3, least_bytes=1)] == [3, 3, 2]
    assert [run.stop - run.start for run in buckets_of([1] * 8, [1] * 8, ranks=2, least_bytes=5)] == [6, 2]
