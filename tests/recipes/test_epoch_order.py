"""The order of the examples: each once per epoch, neighbours far apart, the same on every machine."""

from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.recipes.epoch_order import affine_permutation, rows_of_rank, shuffled


@settings(deadline=None)
@given(examples=st.integers(1, 600), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 10**6))
def test_each_example_comes_once_per_epoch(examples: int, seed: int, epoch: int) -> None:
    first = epoch * examples
    assert sorted(shuffled(first + row, examples, seed) for row in range(examples)) == list(range(examples))


def test_the_order_is_the_same_on_every_machine() -> None:
    """Pinned: a change would give a resumed run examples it has seen."""
    assert [shuffled(sequence, 1000, 3) for sequence in (0, 1, 2, 999, 1000)] == [919, 538, 157, 300, 459]


@settings(deadline=None)
@given(examples=st.integers(200, 10**9), seed=st.integers(0, 1000))
def test_neighbouring_rows_are_far_apart_in_the_data(examples: int, seed: int) -> None:
    multiplier, _ = affine_permutation(examples, seed, 0)
    for apart in range(1, 8):
        step = apart * multiplier % examples
        assert min(step, examples - step) >= examples / 100


@given(world_size=st.integers(1, 6), rows=st.integers(1, 5))
def test_the_rows_of_the_ranks_in_order_are_those_of_the_batch(world_size: int, rows: int) -> None:
    shares = [rows_of_rank(rows * world_size, rank, world_size) for rank in range(world_size)]
    assert [row for share in shares for row in share] == list(range(rows * world_size))
