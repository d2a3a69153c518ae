"""Batches of tokens: every window once per epoch, shares of ranks, evenly spaced validation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.recipes.tokens import (
    TokenPiece,
    TokenStream,
    batch,
    validation_batches,
    window_count,
)


def counting(*lengths: int, vocabulary_size: int = 2**16) -> TokenStream:
    """Pieces whose tokens are 1000 · piece + position, so that a window tells where it is from."""
    pieces = (1000 * number + np.arange(length, dtype=np.uint16) for number, length in enumerate(lengths))
    named = tuple(TokenPiece(f"piece{number}", tokens) for number, tokens in enumerate(pieces))
    return TokenStream("counting", named, vocabulary_size)


def starts(stream: TokenStream, steps: int, **arguments: int) -> list[int]:
    batches = [batch(stream, step=step, **arguments) for step in range(steps)]
    return torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist()


def test_targets_follow_inputs_and_windows_stay_in_their_piece() -> None:
    stream = counting(10, 3, 13)
    assert window_count(stream, 4) == 2 + 0 + 3
    inputs, targets = batch(stream, length=4, batch_size=5, step=0, seed=0)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == targets.shape == (5, 4)
    assert inputs.is_contiguous() and targets.is_contiguous()
    assert torch.equal(targets, inputs + 1)
    assert sorted(inputs[:, 0].tolist()) == [0, 4, 2000, 2004, 2008]


def test_each_window_comes_once_per_epoch_when_batches_straddle_epochs() -> None:
    stream = counting(22, 15)
    seen = starts(stream, steps=5, length=3, batch_size=11, seed=7)
    everything = [*range(0, 21, 3), *range(1000, 1012, 3)]
    assert len(seen) == 5 * len(everything)
    for epoch in range(5):
        assert sorted(seen[epoch * 11 : epoch * 11 + 11]) == everything
    seen = starts(stream, steps=11, length=3, batch_size=4, seed=7)
    assert [sorted(seen[epoch * 11 : epoch * 11 + 11]) for epoch in range(4)] == [everything] * 4


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    stream = counting(900)
    order = starts(stream, steps=1, length=3, batch_size=299, seed=0)
    assert order == starts(stream, steps=1, length=3, batch_size=299, seed=np.int64(0))  # type: ignore[arg-type]
    assert order == starts(stream, steps=13, length=3, batch_size=23, seed=0)
    assert order != starts(stream, steps=1, length=3, batch_size=299, seed=1)
    assert order != starts(stream, steps=2, length=3, batch_size=299, seed=0)[299:]


@settings(deadline=None)
@given(world_size=st.integers(1, 6), rows=st.integers(1, 5), step=st.integers(0, 1000), length=st.integers(1, 9))
def test_the_shares_of_the_ranks_are_the_global_batch(world_size: int, rows: int, step: int, length: int) -> None:
    stream, arguments = counting(100, 50), {"length": length, "batch_size": rows * world_size, "step": step, "seed": 5}
    shares = [batch(stream, **arguments, rank=rank, world_size=world_size) for rank in range(world_size)]
    inputs, targets = batch(stream, **arguments)
    assert torch.equal(torch.cat([share for share, _ in shares]), inputs)
    assert torch.equal(torch.cat([share for _, share in shares]), targets)
    assert all(share.shape == (rows, length) for share, _ in shares)


def test_validation_windows_are_fixed_and_evenly_spaced() -> None:
    stream = counting(1001)
    batches = list(validation_batches(stream, length=10, batch_size=4, count=5))
    assert [inputs.shape for inputs, _ in batches] == [(4, 10)] * 5
    assert torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist() == list(range(0, 1000, 50))
    again = validation_batches(stream, length=10, batch_size=4, count=5)
    assert all(torch.equal(first[1], second[1]) for first, second in zip(batches, again, strict=True))


def test_the_last_validation_batch_may_be_smaller() -> None:
    batches = list(validation_batches(counting(71), length=10, batch_size=3, count=9))
    assert [len(inputs) for inputs, _ in batches] == [3, 3, 1]
    assert torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist() == list(range(0, 70, 10))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": 0}, r"length is 0; it must be in \[1"),
        ({"batch_size": 0}, r"batch_size is 0; it must be in \[1"),
        ({"step": -1}, r"step is -1; it must be in \[0"),
        ({"world_size": 0}, r"world_size is 0"),
        ({"rank": 2, "world_size": 2}, r"rank is 2; it must be in \[0, 2\)"),
        ({"rank": -1}, r"rank is -1"),
        ({"world_size": 3}, r"batch_size is 4; it must be a multiple of world_size=3"),
    ],
)
def test_batch_refuses_what_is_not_legal(changed: dict[str, int], message: str) -> None:
    arguments = {"length": 4, "batch_size": 4, "step": 0, "seed": 0} | changed
    with pytest.raises(ValueError, match=message):
        batch(counting(100), **arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"length": 0}, "length is 0"), ({"batch_size": 0}, "batch_size is 0"), ({"count": 0}, "count is 0")],
)
def test_validation_batches_refuses_at_the_call(changed: dict[str, int], message: str) -> None:
    arguments = {"length": 4, "batch_size": 4, "count": 1} | changed
    with pytest.raises(ValueError, match=message):
        validation_batches(counting(100), **arguments)


def test_too_little_data_names_the_data_its_size_and_the_remedy() -> None:
    message = r"length is 10, but counting has 19 tokens, at most 10 in a row, .* = 11; give more data or length ≤ 9$"
    with pytest.raises(ValueError, match=message):
        batch(counting(10, 9), length=10, batch_size=1, step=0, seed=0)
    with pytest.raises(ValueError, match=message):
        validation_batches(counting(10, 9), length=10, batch_size=1, count=1)
    assert window_count(counting(10, 9), 9) == 1
    with pytest.raises(ValueError, match=r"has 1 tokens.* give more data$"):
        window_count(counting(1), 1)
    with pytest.raises(ValueError, match=r"has 0 tokens.* give more data$"):
        window_count(counting(), 1)


def test_a_token_outside_the_vocabulary_names_its_file() -> None:
    stream = counting(5, 5, vocabulary_size=1004)
    with pytest.raises(ValueError, match=r"piece1 contains the token 1004; tokens must be in \[0, 1004\)"):
        batch(stream, length=4, batch_size=2, step=0, seed=0)
    inputs, _ = batch(counting(5, 5, vocabulary_size=1005), length=4, batch_size=2, step=0, seed=0)
    assert int(inputs.max()) == 1003
