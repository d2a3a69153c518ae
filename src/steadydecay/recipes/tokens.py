"""Token streams whose batches are pure functions of (seed, step), so that a run resumes without replaying."""

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
    """Consecutive tokens. No window extends from one piece into the next.

    Attributes:
        name: The file that the tokens come from, for messages.
        tokens: Unsigned integers of shape (n,), as an array in memory or a shard on disk.
    """

    name: str
    tokens: np.ndarray | Shard


@final
@dataclass(frozen=True, eq=False)
class TokenStream:
    """One split of the data.

    Attributes:
        name: A name for messages.
        pieces: The pieces in a fixed order.
        vocabulary_size: Every token must be below it; otherwise `batch` raises an error.
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
    """The data that a language model is trained and validated on.

    Attributes:
        train, validation: The splits, which share no token.
        vocabulary_size: 256 for bytes, 50304 for shards.
        name: "embedded" or the path as it was given, for the run log.
    """

    train: TokenStream
    validation: TokenStream
    vocabulary_size: int
    name: str


def batch(
    stream: TokenStream, *, length: int, batch_size: int, step: int, seed: int, rank: int = 0, world_size: int = 1
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of a training step. It is a pure function that uses each window once per epoch.

    Args:
        stream: The training split.
        length: The number of tokens per sequence, ≥ 1.
        batch_size: The number of sequences of the global batch, ≥ 1 and a multiple of `world_size`.
        step: The step, ≥ 0.
        seed: Any integer; it decides the order of the windows in every epoch.
        rank, world_size: Select the rank's contiguous share of the rows. The shares in order make up the global batch.

    Returns:
        int64 tensors of shape (batch_size / world_size, length). The targets are the inputs one token later.

    Raises:
        ValueError: An argument is outside its range, the data are too short for one window, or a token is outside the
            vocabulary.
    """
    require_in("step", step, 0, include_low=True)
    windows = window_count(stream, length)
    rows = rows_of_rank(batch_size, rank, world_size)
    return _read_windows(stream, length, [shuffled(step * batch_size + row, windows, seed) for row in rows])


def validation_batches(
    stream: TokenStream, *, length: int, batch_size: int, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield at most `count` batches of evenly spaced windows, the same on every call; the last may have fewer rows.

    Args:
        stream: The validation split.
        length, batch_size, count: Each ≥ 1.

    Raises:
        ValueError: An argument is outside its range or the data are too short for one window (both before the first
            batch), or a token is outside the vocabulary.
    """
    require_in("batch_size", batch_size, 1, include_low=True)
    require_in("count", count, 1, include_low=True)
    windows = window_count(stream, length)
    taken = min(windows, count * batch_size)
    chosen = [index * windows // taken for index in range(taken)]
    return (_read_windows(stream, length, chosen[row : row + batch_size]) for row in range(0, taken, batch_size))


def window_count(stream: TokenStream, length: int) -> int:
    """Return the number of sequences of one epoch, which are windows of length + 1 tokens at stride `length`.

    Raises:
        ValueError: `length` is below 1, or no piece is long enough for a window.
    """
    require_in("length", length, 1, include_low=True)
    windows = sum(_windows_of(piece, length) for piece in stream.pieces)
    if windows:
        return windows
    longest = max((len(piece.tokens) for piece in stream.pieces), default=0)
    raise ValueError(
        f"length is {length}, but {stream.name} has {stream.token_count} tokens, at most {longest} in a row, and a "
        f"window takes length + 1 = {length + 1}; give more data" + (f" or length ≤ {longest - 1}" * (longest > 1))
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
            f"{name} contains the token {largest}; tokens must be in [0, {vocabulary_size}). "
            "Tokenize it again with a vocabulary of that size, or train a model with a larger one."
        )
