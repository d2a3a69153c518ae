"""Token streams for language models: a batch is a pure function of (seed, step), so a run resumes without replaying."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from steadydecay.recipes.epoch_order import rows_of_rank, shuffled
from steadydecay.recipes.token_shards import Shard
from steadydecay.theory.validation import require_in


class TokenPiece(NamedTuple):
    """Tokens that follow each other: no window crosses from one piece to the next.

    Attributes:
        name: the file they come from, for messages.
        tokens: shape (n,), unsigned integers; an array in memory or a shard on disk.
    """

    name: str
    tokens: np.ndarray | Shard


@final
@dataclass(frozen=True, eq=False)
class TokenStream:
    """One split of the data.

    Attributes:
        name: for messages.
        pieces: in a fixed order.
        vocabulary_size: every token is below it, or `batch` raises.
    """

    name: str
    pieces: tuple[TokenPiece, ...]
    vocabulary_size: int

    @property
    def token_count(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces)


@final
@dataclass(frozen=True, eq=False)
class TokenData:
    """What a language model is trained and validated on.

    Attributes:
        train, validation: splits without a common token.
        vocabulary_size: 256 for bytes, 50304 for shards.
        name: "embedded" or the path as given; for the run log.
    """

    train: TokenStream
    validation: TokenStream
    vocabulary_size: int
    name: str


def batch(
    stream: TokenStream, *, length: int, batch_size: int, step: int, seed: int, rank: int = 0, world_size: int = 1
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a training step; a pure function of its arguments, each window once per epoch.

    Args:
        stream: the training split.
        length: tokens per sequence, ≥ 1.
        batch_size: sequences of the global batch, ≥ 1, a multiple of `world_size`.
        step: ≥ 0.
        seed: any integer; decides the order of the windows in every epoch.
        rank, world_size: take the rank's contiguous share of the rows; the shares in order are the global batch.

    Returns:
        int64 tensors of shape (batch_size / world_size, length); targets are inputs one token later.

    Raises:
        ValueError: an argument outside its range, data too short for one window, a token outside the vocabulary.
    """
    require_in("step", step, 0, include_low=True)
    windows = window_count(stream, length)
    rows = rows_of_rank(batch_size, rank, world_size)
    return _read_windows(stream, length, [shuffled(step * batch_size + row, windows, seed) for row in rows])


def validation_batches(
    stream: TokenStream, *, length: int, batch_size: int, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """At most `count` batches of evenly spaced windows, the same on every call; the last may have fewer rows.

    Args:
        stream: the validation split.
        length, batch_size, count: ≥ 1.

    Raises:
        ValueError: an argument outside its range, data too short for one window (both before the first batch),
            a token outside the vocabulary.
    """
    require_in("batch_size", batch_size, 1, include_low=True)
    require_in("count", count, 1, include_low=True)
    windows = window_count(stream, length)
    taken = min(windows, count * batch_size)
    chosen = [index * windows // taken for index in range(taken)]
    return (_read_windows(stream, length, chosen[row : row + batch_size]) for row in range(0, taken, batch_size))


def window_count(stream: TokenStream, length: int) -> int:
    """Windows of length + 1 tokens at stride `length`, at least 1: the sequences of one epoch.

    Raises:
        ValueError: length < 1, or no piece holds a window.
    """
    require_in("length", length, 1, include_low=True)
    windows = sum(_windows_of(piece, length) for piece in stream.pieces)
    if windows:
        return windows
    longest = max((len(piece.tokens) for piece in stream.pieces), default=0)
    raise ValueError(
        f"length is {length}, but {stream.name} holds {stream.token_count} tokens, at most {longest} in a row, and a "
        f"window takes length + 1 = {length + 1}: give more data" + (f" or length ≤ {longest - 1}" * (longest > 1))
    )


def _windows_of(piece: TokenPiece, length: int) -> int:
    return max(0, len(piece.tokens) - 1) // length


def _read_windows(stream: TokenStream, length: int, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    ends = list(accumulate(_windows_of(piece, length) for piece in stream.pieces))
    rows = np.empty((len(indices), length + 1), dtype=np.int64)
    for row, index in zip(rows, indices, strict=True):
        place = bisect_right(ends, index)
        first_window = ends[place - 1] if place else 0
        start = (index - first_window) * length
        row[:] = stream.pieces[place].tokens[start : start + length + 1]
        _require_in_vocabulary(row, stream.pieces[place].name, stream.vocabulary_size)
    windows = torch.from_numpy(rows)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def _require_in_vocabulary(tokens: np.ndarray, name: str, vocabulary_size: int) -> None:
    if (largest := int(tokens.max())) >= vocabulary_size:
        raise ValueError(
            f"{name} holds token {largest}; legal is [0, {vocabulary_size}): "
            "tokenize it again with a vocabulary of that size, or train a model with a larger one"
        )
