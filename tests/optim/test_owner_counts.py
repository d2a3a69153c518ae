"""What one rank of several sends, computes and keeps in a step of GPT-2 small, counted in a fake process group."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from steadydecay import ScionC
from steadydecay.optim.batches import owner_batches, owner_plan
from steadydecay.parallel.owners import owners_of
from steadydecay.polar.cost import multiplications
from step_costs import peak_bytes

LAYERS, WIDTH, VOCABULARY = 12, 768, 50257
MATRICES = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)] * LAYERS
MATRIX_ENTRIES = sum(rows * columns for rows, columns in MATRICES)
ENTRIES = MATRIX_ENTRIES + VOCABULARY * WIDTH
RANKS = [2, 4, 8]
Cut = Callable[[tuple[int, int]], Tensor]


@contextmanager
def one_rank_of(ranks: int, rank: int = 1) -> Iterator[None]:
    dist.init_process_group("fake", rank=rank, world_size=ranks, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def rows_of(ranks: int) -> Cut:
    mesh = init_device_mesh("cpu", (ranks,))
    return lambda shape: on_mesh(shape, mesh, [Shard(0)], -(-shape[0] // ranks), ranks)


def replicas_of_rows(ranks: int) -> Cut:
    mesh = init_device_mesh("cpu", (2, ranks // 2))
    return lambda shape: on_mesh(shape, mesh, [Replicate(), Shard(0)], -(-shape[0] // (ranks // 2)), ranks // 2)


def on_mesh(shape: tuple[int, int], mesh: Any, placements: list[Any], piece: int, pieces: int) -> Tensor:
    at = mesh.get_coordinate()[-1]
    rows = min(shape[0], (at + 1) * piece) - min(shape[0], at * piece)
    local = torch.zeros(rows, shape[1])
    return DTensor.from_local(local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=(shape[1], 1))


def weights_of(cut: Cut) -> list[nn.Parameter]:
    weights = [nn.Parameter(cut(shape)) for shape in [*MATRICES, (VOCABULARY, WIDTH)]]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return weights


def scion(weights: list[nn.Parameter], **options: Any) -> ScionC:
    qkv, others = weights[:-1:4], [weight for index, weight in enumerate(weights[:-1]) if index % 4]
    fused = {"name": "spectral", "split_sizes": [WIDTH] * 3}
    groups = [{"params": qkv, "norm": fused}, {"params": others}, {"params": weights[-1:], "norm": "sign"}]
    return ScionC(groups, 0.01, weight_decay=0.1, **options)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Of this rank: bytes that come from others, all-to-alls, and whole tensors; products are left out."""
    found = SimpleNamespace(received=0, all_to_alls=0, whole=0)
    all_to_all = dist.all_to_all_single

    def counting(
        output: Tensor, given: Tensor, arriving: list[int], leaving: list[int], group: Any, **rest: Any
    ) -> Any:
        others = sum(arriving) - arriving[dist.get_rank(group)]
        found.received += others * output.itemsize
        found.all_to_alls += 1
        return all_to_all(output, given, arriving, leaving, group=group, **rest)

    def whole(*_: Any, **__: Any) -> Any:
        found.whole += 1

    monkeypatch.setattr(dist, "all_to_all_single", counting)
    monkeypatch.setattr(DTensor, "full_tensor", whole)
    # In half precision, as the products of the machines that this is for.
    monkeypatch.setattr(owner_plan, "_lmo_dtype", lambda one: torch.bfloat16)
    monkeypatch.setattr(owner_batches, "lmo_of_each", lambda norm, directions: [one.bfloat16() for one in directions])
    return found


def cost_of(shape: tuple[int, int]) -> int:
    rows, columns = shape
    block = torch.empty(()).expand(WIDTH if rows == 3 * WIDTH else rows, columns)
    return multiplications(block, 5) * (3 if rows == 3 * WIDTH else 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_the_busiest_rank_computes_little_more_than_its_share(ranks: int) -> None:
    costs = sorted(map(cost_of, MATRICES), reverse=True)
    loads = [0] * ranks
    for cost, owner in zip(costs, owners_of(costs, ranks), strict=True):
        loads[owner] += cost
    assert max(loads) <= 1.15 * sum(costs) / ranks


@pytest.mark.parametrize("layout", [rows_of, replicas_of_rows])
def test_a_step_under_fsdp_sends_each_matrix_to_its_owner_and_back(
    layout: Callable[[int], Cut], counted: SimpleNamespace
) -> None:
    with one_rank_of(8):
        optimizer = scion(weights_of(layout(8)))
        optimizer.step()
        buckets = next(iter(optimizer._owner_batches._plans.values()))
    # A rank holds an eighth of each matrix under FSDP2, and a quarter with two replicas.
    share = 8 if layout is rows_of else 4
    assert counted.received <= 1.05 * MATRIX_ENTRIES * (4 / 8 + 2 / share)
    assert counted.received <= 80e6 or layout is replicas_of_rows
    assert counted.all_to_alls == 2 * len(buckets)
    assert counted.whole == 0
    assert 3 <= len(buckets) <= 12


@pytest.mark.parametrize("ranks", RANKS)
def test_every_owner_has_work_in_every_bucket_but_the_last_of_a_kind(ranks: int, counted: SimpleNamespace) -> None:
    with one_rank_of(ranks):
        optimizer = scion(weights_of(rows_of(ranks)))
        optimizer.step()
        buckets = next(iter(optimizer._owner_batches._plans.values()))
    for bucket in buckets[:-1]:
        assert {unit.owner for units in bucket.units for unit in units} == {(rank,) for rank in range(ranks)}


@pytest.mark.parametrize("ranks", RANKS)
def test_temporaries_grow_with_what_a_rank_owns(ranks: int, counted: SimpleNamespace) -> None:
    with one_rank_of(ranks):
        optimizer = scion(weights_of(rows_of(ranks)))
        optimizer.step()
        peak = peak_bytes(optimizer.step)
    assert peak <= 2 * 4 * ENTRIES / ranks


@pytest.mark.parametrize("ranks", RANKS)
def test_replicas_keep_their_share_of_the_momentum(ranks: int) -> None:
    with one_rank_of(ranks):
        weights = [nn.Parameter(torch.empty(shape)) for shape in [*MATRICES, (VOCABULARY, WIDTH)]]
        optimizer = scion(weights, data_parallel_group=dist.group.WORLD)
        optimizer.fit_state()
        held = sum(state["momentum"].to_local().numel() for state in optimizer.state.values())
    assert held <= 1.2 * ENTRIES / ranks
