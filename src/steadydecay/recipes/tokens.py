"""Token streams for language models: a batch is a pure function of (seed, step), so a run resumes without replaying."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from steadydecay.recipes.token_shards import Shard
from steadydecay.theory.validation import require_in

# Of 16 random multipliers, the one that best keeps 16 neighbouring rows apart is close to the golden ratio's spread.
MULTIPLIERS_TRIED = 16
ROWS_KEPT_APART = 16


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
    rows = _share(batch_size, rank, world_size)
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


def shuffled(sequence: int, windows: int, seed: int) -> int:
    """The window that is `sequence`-th in training: a new affine permutation of all windows in each epoch.

    >>> sorted(shuffled(sequence, 5, seed=0) for sequence in range(5, 10))
    [0, 1, 2, 3, 4]
    """
    epoch, position = divmod(sequence, windows)
    multiplier, offset = affine_permutation(windows, seed, epoch)
    return (multiplier * position + offset) % windows


@lru_cache(maxsize=64)
def affine_permutation(windows: int, seed: int, epoch: int) -> tuple[int, int]:
    """(a, b) of the permutation x → (ax + b) mod n with gcd(a, n) = 1, which takes neighbours far apart."""
    drawn = [_hashed_below(windows, seed, epoch, draw) for draw in range(MULTIPLIERS_TRIED + 1)]
    multipliers = (_next_coprime(value, windows) for value in drawn[1:])
    return max(multipliers, key=lambda multiplier: _spread(multiplier, windows)), drawn[0]


def _hashed_below(bound: int, *key: int) -> int:
    # str, not repr: a NumPy integer is the same seed as Python's.
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest, "big") % bound


def _next_coprime(value: int, modulus: int) -> int:
    while math.gcd(value, modulus) != 1:
        value = (value + 1) % modulus
    return value


def _spread(multiplier: int, modulus: int) -> int:
    """Least distance of two of 16 neighbouring rows, times how many rows they are apart."""
    steps = ((apart, apart * multiplier % modulus) for apart in range(1, min(ROWS_KEPT_APART, modulus)))
    return min((apart * min(step, modulus - step) for apart, step in steps), default=0)


def _share(batch_size: int, rank: int, world_size: int) -> range:
    require_in("batch_size", batch_size, 1, include_low=True)
    require_in("world_size", world_size, 1, include_low=True)
    require_in("rank", rank, 0, world_size, include_low=True)
    # Uneven shares would make the mean over ranks differ from the mean over the batch.
    if batch_size % world_size:
        raise ValueError(f"batch_size is {batch_size}; legal are multiples of world_size={world_size}")
    rows = batch_size // world_size
    return range(rank * rows, (rank + 1) * rows)


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
