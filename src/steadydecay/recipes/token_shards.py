"""Token shards on disk: 256 little-endian int32 (magic, version, count), then `count` little-endian uint16 tokens."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.plain_file import open_plain

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_BYTES = 1024


@final
class ShardError(ValueError):
    """A `.bin` file that is not a whole shard of version 1."""


@final
@dataclass(frozen=True)
class Shard:
    """Tokens start..stop of a `.bin` file, opened for each read.

    A corpus has more shards than a process may hold files open: 100 billion tokens are 1000 of them.
    """

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, window: slice) -> np.ndarray:
        return read_shard(self.path)[self.start : self.stop][window]


def read_shard(path: str | Path) -> np.memmap:
    """The tokens of a shard, mapped from disk: shape (count,), uint16, read-only.

    Raises:
        OSError: no such file, or it cannot be read.
        ValueError: no plain file.
        ShardError: not a shard, another version, or not as long as its header says.
    """
    path = Path(path)
    with open_plain(path) as file:
        header = file.read(SHARD_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
        _require_whole_shard(path, header, size)
        return np.memmap(file, dtype="<u2", mode="r", offset=SHARD_HEADER_BYTES)


def write_shard(path: str | Path, tokens: Any) -> None:
    """Write tokens as a shard; the file appears whole or not at all.

    Args:
        path: ends in .bin if `load_tokens` is to find it in a folder.
        tokens: array-like of integers, shape (n,), 1 ≤ n < 2³¹, each in [0, 65536).

    Raises:
        ValueError: tokens of another shape, kind or range.
    """
    path, array = Path(path), np.asarray(tokens)
    _require_shard_tokens(array)
    replace_file(path, [shard_header(len(array)), array.astype("<u2").data])


def shard_header(count: int) -> bytes:
    """The 1,024 bytes that stand before `count` tokens, 1 ≤ count < 2³¹."""
    header = np.zeros(SHARD_HEADER_BYTES // 4, dtype="<i4")
    header[:3] = SHARD_MAGIC, SHARD_VERSION, count
    return header.tobytes()


def _require_whole_shard(path: Path, header: bytes, size: int) -> None:
    if len(header) < SHARD_HEADER_BYTES:
        raise ShardError(f"{path} has {size} bytes; legal is a token shard with a header of {SHARD_HEADER_BYTES}")
    magic, version, count = (int(field) for field in np.frombuffer(header, dtype="<i4", count=3))
    if magic != SHARD_MAGIC:
        raise ShardError(f"{path} starts with {magic}; legal is {SHARD_MAGIC}: it is no token shard (see write_shard)")
    if version != SHARD_VERSION:
        raise ShardError(f"{path} is a shard of version {version}; legal is {SHARD_VERSION}: write it again")
    if count < 1:
        raise ShardError(f"{path} says it holds {count} tokens; legal is 1 or more: write it again")
    expected = SHARD_HEADER_BYTES + 2 * count
    if size != expected:
        raise ShardError(
            f"{path} has {size} bytes; legal is {expected} for its {count} tokens: fetch it or write it again"
        )


def _require_shard_tokens(tokens: np.ndarray) -> None:
    if tokens.ndim != 1 or not 1 <= len(tokens) < 2**31:
        raise ValueError(f"tokens have shape {tokens.shape}; legal is (n,) with 1 ≤ n < 2³¹")
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens have dtype {tokens.dtype}; legal are integers: no other kind counts as a token")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"tokens range from {low} to {high}; legal is [0, 65536), what uint16 can hold")
