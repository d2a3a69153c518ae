"""The order of training examples as a pure function of (seed, sequence), so that a run resumes without replaying."""

import hashlib
import math
from functools import lru_cache

from steadydecay.theory.validation import require_in

# Of 16 random multipliers, the one that best separates 16 neighbouring rows comes close to the golden ratio's spread.
MULTIPLIERS_TRIED = 16
ROWS_KEPT_APART = 16


def shuffled(sequence: int, examples: int, seed: int) -> int:
    """Return the example at place `sequence` of the training order, which permutes all examples anew in each epoch.

    >>> sorted(shuffled(sequence, 5, seed=0) for sequence in range(5, 10))
    [0, 1, 2, 3, 4]
    """
    epoch, position = divmod(sequence, examples)
    multiplier, offset = affine_permutation(examples, seed, epoch)
    return (multiplier * position + offset) % examples


@lru_cache(maxsize=64)
def affine_permutation(examples: int, seed: int, epoch: int) -> tuple[int, int]:
    """Return (a, b) of the permutation x → (ax + b) mod n with gcd(a, n) = 1, which moves neighbours far apart."""
    drawn = [_hashed_below(examples, seed, epoch, draw) for draw in range(MULTIPLIERS_TRIED + 1)]
    multipliers = (_next_coprime(value, examples) for value in drawn[1:])
    return max(multipliers, key=lambda multiplier: _spread(multiplier, examples)), drawn[0]


def rows_of_rank(batch_size: int, rank: int, world_size: int) -> range:
    """Return the rank's contiguous share of the rows of a global batch. The shares in order make up the batch.

    Raises:
        ValueError: An argument is outside its range, or batch_size is not a multiple of world_size.
    """
    require_in("batch_size", batch_size, 1, include_low=True)
    require_in("world_size", world_size, 1, include_low=True)
    require_in("rank", rank, 0, world_size, include_low=True)
    # With uneven shares, the mean over ranks would differ from the mean over the batch.
    if batch_size % world_size:
        raise ValueError(f"batch_size is {batch_size}; it must be a multiple of world_size={world_size}")
    rows = batch_size // world_size
    return range(rank * rows, (rank + 1) * rows)


def _hashed_below(bound: int, *key: int) -> int:
    # str rather than repr, so that a NumPy integer is the same seed as Python's.
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest, "big") % bound


def _next_coprime(value: int, modulus: int) -> int:
    while math.gcd(value, modulus) != 1:
        value = (value + 1) % modulus
    return value


def _spread(multiplier: int, modulus: int) -> int:
    """Return the least distance between two of 16 neighbouring rows, times the number of rows between them."""
    steps = ((apart, apart * multiplier % modulus) for apart in range(1, min(ROWS_KEPT_APART, modulus)))
    return min((apart * min(step, modulus - step) for apart, step in steps), default=0)
