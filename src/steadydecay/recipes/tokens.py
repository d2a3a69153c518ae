"""Token data for language models: a batch is a pure function of (seed, step), so a run resumes without replaying.

Three sources, one form: the text of the running interpreter's standard library (no download), text files, and `.bin`
shards (256 little-endian int32: magic, version, count; then `count` little-endian uint16 tokens).
"""

import hashlib
import math
import os
import sysconfig
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from steadydecay.theory.validation import require_in

BYTE_VOCABULARY = 256
SHARD_VOCABULARY = 50304

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_BYTES = 1024

DOCUMENT_SEPARATOR = b"\0"
VALIDATION_ONE_IN = 10
FEWEST_FILES_TO_SPLIT_BY_FILE = 20
LEGAL_VALIDATION_SHARE = (0.02, 0.3)
FARTHEST_LINE_END = 1024

EMBEDDED_SUFFIXES = (".py", ".txt", ".rst", ".md")
NOT_EMBEDDED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})

# Of 16 random multipliers, the one that best keeps 16 neighbouring rows apart is close to the golden ratio's spread.
MULTIPLIERS_TRIED = 16
ROWS_KEPT_APART = 16


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


class Piece(NamedTuple):
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
    pieces: tuple[Piece, ...]
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


def _windows_of(piece: Piece, length: int) -> int:
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


def load_tokens(path: str | Path | None) -> TokenData:
    """Token data from what `path` names.

    Args:
        path: None (the embedded text), a text file, a folder of text files, a `.bin` shard, a folder of shards.

    Raises:
        FileNotFoundError: nothing is there.
        ShardError: a shard is broken.
        ValueError: no text, or no training shard.
    """
    if path is None:
        return embedded_text()
    source, name = Path(path), str(path)
    if not source.exists():
        raise FileNotFoundError(
            f"data is {name!r}, and nothing is there; legal is a text file, a folder of text files, a .bin shard, "
            "a folder of .bin shards, or None for the embedded text"
        )
    if source.is_dir():
        shards = sorted(source.glob("*.bin"))
        return _shard_folder(name, shards) if shards else _text_data(name, *split_texts(_texts_below(source)))
    return _split_shard(name, source) if source.suffix == ".bin" else _text_data(name, *_split_file(source))


def embedded_text() -> TokenData:
    """Source and prose of the running interpreter's standard library, without its tests: 12 MB of bytes, by file.

    Raises:
        ValueError: the interpreter came without its sources.
    """
    return _text_data("embedded", *split_texts(embedded_files()))


def embedded_files() -> dict[str, bytes]:
    """The files of `embedded_text` by relative path, in order."""
    return _texts_below(Path(sysconfig.get_paths()["stdlib"]), EMBEDDED_SUFFIXES, NOT_EMBEDDED)


def split_texts(texts: dict[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Train and validation, by file; by the end of each file where the files are too few or too unequal for that."""
    validation = [text for name, text in texts.items() if is_validation_file(name)]
    share = sum(map(len, validation)) / sum(map(len, texts.values()))
    low, high = LEGAL_VALIDATION_SHARE
    if len(texts) >= FEWEST_FILES_TO_SPLIT_BY_FILE and low <= share <= high:
        return [text for name, text in texts.items() if not is_validation_file(name)], validation
    parts = [_split_at_line_end(text) for text in texts.values()]
    return [train for train, _ in parts], [validation for _, validation in parts if validation]


def is_validation_file(relative_path: str) -> bool:
    """Whether the hash of the path puts a file into validation, as it does one in ten: whatever else is there.

    >>> is_validation_file("ast.py"), is_validation_file("argparse.py")
    (True, False)
    """
    return int(hashlib.sha256(os.fsencode(relative_path)).hexdigest(), 16) % VALIDATION_ONE_IN == 0


def _split_file(path: Path) -> tuple[list[bytes], list[bytes]]:
    if (text := _text(path)) is None:
        raise ValueError(f"{path} is empty or holds a NUL byte; legal is text, or token shards that end in .bin")
    train, validation = _split_at_line_end(text)
    return [train], [validation]


def _split_at_line_end(text: bytes) -> tuple[bytes, bytes]:
    """All but the last tenth, and the last tenth, moved back to a line end if one is near."""
    cut = len(text) - len(text) // VALIDATION_ONE_IN
    nearby = min(FARTHEST_LINE_END, len(text) // (2 * VALIDATION_ONE_IN))
    line_end = text.rfind(b"\n", cut - nearby, cut)
    cut = cut if line_end < 0 else line_end + 1
    return text[:cut], text[cut:]


def _texts_below(
    folder: Path, suffixes: tuple[str, ...] = ("",), skipped_folders: frozenset[str] = frozenset()
) -> dict[str, bytes]:
    paths = {path.relative_to(folder).as_posix(): path for path in _files_below(folder, skipped_folders)}
    named = ((name, paths[name]) for name in sorted(paths) if name.endswith(suffixes))
    texts = {name: text for name, path in named if (text := _text_or_warning(path)) is not None}
    if not texts:
        raise ValueError(f"{folder} holds no text; legal is a folder with text files (not hidden, no NUL byte) or .bin")
    return texts


def _files_below(folder: Path, skipped_folders: frozenset[str]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        # os.walk descends into what is left in its own list.
        folders[:] = [name for name in folders if name not in skipped_folders and not name.startswith(".")]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        # A named pipe or a socket would block the read.
        yield from (path for path in paths if path.is_file())


def _text_or_warning(path: Path) -> bytes | None:
    try:
        return _text(path)
    except OSError as error:
        warnings.warn(f"skipped {path}, which cannot be read: {error}", stacklevel=2)
        return None


def _text(path: Path) -> bytes | None:
    """The content of a file, or None if it is empty or no text."""
    with path.open("rb") as file:
        start = file.read(8192)
        # Most binary files show it in their first block; this spares reading a large one.
        content = start if DOCUMENT_SEPARATOR in start else start + file.read()
    return None if not content or DOCUMENT_SEPARATOR in content else content


def _text_data(name: str, train: list[bytes], validation: list[bytes]) -> TokenData:
    return _data(name, BYTE_VOCABULARY, [_joined(name, train)], [_joined(name, validation)])


def _joined(name: str, texts: list[bytes]) -> Piece:
    return Piece(name, np.frombuffer(DOCUMENT_SEPARATOR.join(texts), dtype=np.uint8))


def _shard_folder(name: str, paths: list[Path]) -> TokenData:
    if len(paths) == 1:
        return _split_shard(name, paths[0])
    validation = [path for path in paths if "val" in path.name] or paths[-1:]
    train = [_shard_piece(path) for path in paths if path not in validation]
    if not train:
        raise ValueError(f'every .bin file in {name} has "val" in its name; legal is at least one without, to train on')
    return _data(name, SHARD_VOCABULARY, train, list(map(_shard_piece, validation)))


def _split_shard(name: str, path: Path) -> TokenData:
    tokens = len(read_shard(path))
    cut = tokens - tokens // VALIDATION_ONE_IN
    return _data(name, SHARD_VOCABULARY, [_shard_piece(path, 0, cut)], [_shard_piece(path, cut, tokens)])


def _shard_piece(path: Path, start: int = 0, stop: int | None = None) -> Piece:
    return Piece(str(path), Shard(path, start, len(read_shard(path)) if stop is None else stop))


def _data(name: str, vocabulary_size: int, train: list[Piece], validation: list[Piece]) -> TokenData:
    return TokenData(
        train=TokenStream(f"the training split of {name}", tuple(train), vocabulary_size),
        validation=TokenStream(f"the validation split of {name}", tuple(validation), vocabulary_size),
        vocabulary_size=vocabulary_size,
        name=name,
    )


def read_shard(path: str | Path) -> np.memmap:
    """The tokens of a shard, mapped from disk: shape (count,), uint16, read-only.

    Raises:
        FileNotFoundError: no such file.
        ShardError: not a shard, another version, or not as long as its header says.
    """
    path = Path(path)
    with path.open("rb") as file:
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
    header = np.zeros(SHARD_HEADER_BYTES // 4, dtype="<i4")
    header[:3] = SHARD_MAGIC, SHARD_VERSION, len(array)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(header.tobytes())
            file.write(array.astype("<u2").data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
