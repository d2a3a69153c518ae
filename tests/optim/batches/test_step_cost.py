"""What a step costs on paper is what four real processes do, byte for byte, under every strategy."""

import json
from typing import Any

import pytest
import torch
from counted_steps import BUCKET_BYTES, COUNTS, LARGE_BUCKET_BYTES, LARGE_SHAPES, NORMS, main
from torch.distributed.tensor import Shard

from forked import on_ranks
from steadydecay.norms import norm_for
from steadydecay.norms.bias import Bias
from steadydecay.norms.spectral import Spectral
from steadydecay.optim.batches.alike_parts import LARGEST_CPU_CHUNK
from steadydecay.optim.batches.laid_out import LaidOutWeight
from steadydecay.optim.batches.step_cost import Limits, on_one_rank, step_cost
from steadydecay.parallel import strategies

CPU = torch.device("cpu")
RANKS = 4
TENSOR_CUTS: dict[str, strategies.TensorCut] = {"up": "rows", "gate": "rows", "down": "columns"}

# By case: the mesh over all four ranks, and how a weight of each name is laid out.
MESHES = {"ddp": (4,), "fsdp": (4,)}
CASES = ("ddp", "ddp of 2", "fsdp", "fsdp of 2", "hsdp", "tensor parallel of 2", "fsdp of tensor parallel", "experts")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By rank and case: what was counted, and the layout of each weight."""
    out = tmp_path_factory.mktemp("counted") / "out.json"
    on_ranks(RANKS, main, out)
    return json.loads(out.read_text())


def placements(case: str, name: str, shape: tuple[int, ...]) -> strategies.Placements:
    """Of the mesh (2, 2), or (4,) where a case speaks of one dimension."""
    cut = TENSOR_CUTS.get(name)
    of_replicas = strategies.rows_of_replicas(len(shape)) if len(shape) > 1 else strategies.plain()
    return {
        "ddp": of_replicas,
        "ddp of 2": (None, *of_replicas),
        "fsdp": strategies.fsdp(),
        "fsdp of 2": (None, *strategies.fsdp()),
        "hsdp": strategies.hsdp(),
        "tensor parallel of 2": (None, *strategies.tensor_parallel(cut)),
        "fsdp of tensor parallel": strategies.fsdp_of_tensor_parallel(cut, 2),
        "experts": strategies.fsdp_of_experts(3, 2, 2)
        if name == "experts"
        else strategies.fsdp_of_tensor_parallel(cut, 2),
    }[case]


def weights_of(case: str, layout: dict[str, Any]) -> list[LaidOutWeight]:
    weights = []
    for name, one in layout.items():
        shape = tuple(one["shape"])
        laid_out = placements(case, name, shape)
        is_replica = case.startswith("ddp") and len(shape) > 1
        norm = norm_for(NORMS[name], len(shape))
        weights.append(LaidOutWeight(shape, norm, MESHES.get(case, (2, 2)), laid_out, is_replica))
    return weights


@pytest.mark.parametrize("case", CASES)
def test_what_every_rank_does_is_what_the_paper_says(case: str, found: list[dict[str, Any]]) -> None:
    cost = step_cost(weights_of(case, found[0][case]["layout"]), Limits(BUCKET_BYTES, LARGEST_CPU_CHUNK), CPU)
    for name in COUNTS:
        assert getattr(cost, name) == [of_rank[case]["counts"][name] for of_rank in found], name


@pytest.mark.parametrize("case", ["fsdp", "hsdp", "tensor parallel of 2", "fsdp of tensor parallel", "experts"])
def test_a_strategy_is_laid_out_as_torch_does(case: str, found: list[dict[str, Any]]) -> None:
    for name, one in found[0][case]["layout"].items():
        laid_out = placements(case, name, tuple(one["shape"]))
        assert [repr(placement) for placement in laid_out if placement is not None] == one["placements"], name


@pytest.mark.parametrize(("name", "dim"), [("fsdp", 0), ("columns", 1)])
def test_temporaries_are_what_the_paper_says_but_for_what_the_library_of_products_packs(
    name: str, dim: int, found: list[dict[str, Any]]
) -> None:
    weights = [LaidOutWeight(shape, Spectral(), (RANKS,), (Shard(dim),)) for shape in LARGE_SHAPES]
    cost = step_cost(weights, Limits(LARGE_BUCKET_BYTES, LARGEST_CPU_CHUNK), CPU)
    assert min(cost.buckets) > 2
    for most, of_rank in zip(cost.temporary_bytes, found, strict=True):
        assert 0.7 * most < of_rank["peak"][name] < 1.3 * most


def test_owners_of_several_meshes_share_all_that_there_is_to_do() -> None:
    """Of 3 matrices over each mesh; dealt anew over each, rank 0 had 1.33 of its share."""
    placements: list[strategies.Placements] = [(Shard(0), None), (None, Shard(0)), (Shard(0), Shard(0))]
    weights = [LaidOutWeight((64, 64), Spectral(), (2, 2), laid_out) for laid_out in placements] * 3
    multiplied = step_cost(weights, Limits(1500, 1), CPU).multiplications
    assert max(multiplied) < 1.1 * sum(multiplied) / RANKS


def test_one_rank_speaks_to_nobody_and_keeps_and_computes_everything() -> None:
    weights = [LaidOutWeight((6, 4), Spectral(), (8,), (Shard(0),)), LaidOutWeight((6,), Bias(), (8,), (Shard(0),))]
    cost = on_one_rank(weights, CPU)
    assert (cost.received_bytes, cost.reduced_bytes, cost.buckets) == ([0], [0], [0])
    assert cost.multiplications == [5 * (2 * 4**2 * 6 + 4**3)]
    assert cost.state_bytes == [4 * 30]


def test_weights_over_different_numbers_of_ranks_are_refused() -> None:
    weights = [LaidOutWeight((6, 4), Spectral(), (ranks,), (Shard(0),)) for ranks in (2, 4)]
    with pytest.raises(
        ValueError, match=r"weights are over \[2, 4\] ranks; they must all be over the same number of ranks"
    ):
        step_cost(weights, Limits(1, 1), CPU)


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_narrow_weights_halve_the_way_to_the_owner_and_a_compensation_doubles_the_state(ranks: int) -> None:
    wide = [LaidOutWeight((64, 64), Spectral(), (ranks,), (Shard(0),))] * ranks
    narrow = [one._replace(dtype=torch.bfloat16, has_compensation=True) for one in wide]
    costs = [step_cost(weights, Limits(1, 1), torch.device("cuda")) for weights in (wide, narrow)]
    # On a GPU updates come back in the float16 of the products.
    for cost, bytes_of_entry in zip(costs, (4 + 2, 2 + 2), strict=True):
        assert cost.received_bytes == [bytes_of_entry * 64 * 64 * (ranks - 1) // ranks] * ranks
    assert costs[0].state_bytes == costs[1].state_bytes == [64 * 64 * 4] * ranks


def test_replicas_that_share_large_and_small_matrices_hand_on_no_padding() -> None:
    """On 8 replicas of 8 ranks one bucket of GPT-2's layers was padded by 78 percent."""
    shapes = [(256, 64), (64, 256), *[(64, 64)] * 4] * 12
    weights = [LaidOutWeight(shape, Spectral(), (8, 8), strategies.hsdp()) for shape in shapes]
    cost = step_cost(weights, Limits(2**23, 1), CPU)
    entries, largest = sum(rows * columns for rows, columns in shapes), 256 * 64
    handed_on = entries / 8 * 7 / 8
    # The owner of a large matrix gets it from its replica, and its pieces of the replica's other updates.
    exchanged = largest * 7 / 8 + (entries / 8 - largest) / 8
    assert max(cost.received_bytes) == 4 * (handed_on + exchanged)


def test_replicas_hand_on_their_pieces_once_however_many_they_are() -> None:
    received = []
    for replicas in (2, 8, 64):
        weights = [LaidOutWeight((64, 64), Spectral(), (replicas, 4), strategies.hsdp())] * (4 * replicas)
        cost = step_cost(weights, Limits(2**20, 1), CPU)
        received.append(max(cost.received_bytes) / len(weights))
        assert cost.received_bytes == cost.sent_bytes
    # A rank holds a quarter of each matrix, which it has to get; what comes to it as an owner is less and less of all.
    assert received[0] > received[1] > received[2] > 64 * 64 * 4 / 4
    assert received[2] < 1.02 * 64 * 64 * 4 / 4
