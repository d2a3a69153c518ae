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
    """A `.bin` file is not a whole shard of version 1."""


@final
@dataclass(frozen=True)
class Shard:
    """Tokens start..stop of a `.bin` file, which is opened for each read.

    A corpus has more shards than a process may keep open: 100 billion tokens are 1000 shards.
    """

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, window: slice) -> np.ndarray:
        return read_shard(self.path)[self.start : self.stop][window]


def read_shard(path: str | Path) -> np.memmap:
    """Map the tokens of a shard from disk as a read-only array of shape (count,) and dtype uint16.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: The path is not a regular file.
        ShardError: The file is not a shard, has another version, or is not as long as its header says.
    """
    path = Path(path)
    with open_plain(path) as file:
        header = file.read(SHARD_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
        _require_whole_shard(path, header, size)
        return np.memmap(file, dtype="<u2", mode="r", offset=SHARD_HEADER_BYTES)


def write_shard(path: str | Path, tokens: Any) -> None:
    """Write tokens as a shard. The file appears whole or not at all.

    Args:
        path: The file. It must end in .bin if `load_tokens` is to find it in a folder.
        tokens: An array-like of integers in [0, 65536), of shape (n,) with 1 ≤ n < 2³¹.

    Raises:
        ValueError: The tokens have another shape, type or range.
    """
    path, array = Path(path), np.asarray(tokens)
    _require_shard_tokens(array)
    replace_file(path, [shard_header(len(array)), array.astype("<u2").data])


def shard_header(count: int) -> bytes:
    """Return the 1,024 bytes that precede `count` tokens, 1 ≤ count < 2³¹."""
    header = np.zeros(SHARD_HEADER_BYTES // 4, dtype="<i4")
    header[:3] = SHARD_MAGIC, SHARD_VERSION, count
    return header.tobytes()


def _require_whole_shard(path: Path, header: bytes, size: int) -> None:
    if len(header) < SHARD_HEADER_BYTES:
        raise ShardError(f"{path} has {size} bytes, but a token shard has a header of {SHARD_HEADER_BYTES} bytes")
    magic, version, count = (int(field) for field in np.frombuffer(header, dtype="<i4", count=3))
    if magic != SHARD_MAGIC:
        raise ShardError(
            f"{path} is not a token shard: it starts with {magic} instead of {SHARD_MAGIC}; write it with write_shard"
        )
    if version != SHARD_VERSION:
        raise ShardError(
            f"{path} is a shard of version {version}; it must have version {SHARD_VERSION}: write it again"
        )
    if count < 1:
        raise ShardError(f"{path} says that it has {count} tokens; it must have at least 1: write it again")
    expected = SHARD_HEADER_BYTES + 2 * count
    if size != expected:
        raise ShardError(
            f"{path} has {size} bytes, but its {count} tokens take {expected}; download it or write it again"
        )


def _require_shard_tokens(tokens: np.ndarray) -> None:
    if tokens.ndim != 1 or not 1 <= len(tokens) < 2**31:
        raise ValueError(f"tokens have the shape {tokens.shape}; it must be (n,) with 1 ≤ n < 2³¹")
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens have the dtype {tokens.dtype}; they must be integers")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"tokens range from {low} to {high}; they must be in [0, 65536), the range of uint16")
