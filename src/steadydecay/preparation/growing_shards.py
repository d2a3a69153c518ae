"""The shards of one split while they are written: complete ones, and one that grows and survives a kill."""

import os
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from steadydecay.recipes.token_shards import SHARD_HEADER_BYTES, ShardError, read_shard, shard_header
from steadydecay.run_log.atomic_write import naming, sync_folder


@final
class GrowingShards:
    """Append tokens at the end; every `shard_tokens` of them become a file `SPLIT_000000.bin`.

    The growing shard is a hidden file until it is full. After a kill, only what it had at the last `sync` counts.

    Args:
        folder: The folder, which must exist.
        split: The first part of the file names.
        shard_tokens: The number of tokens in each shard but the last, ≥ 1.
        whole: The number of full shards.
        tokens: The number of tokens in the growing shard.

    Raises:
        OSError: A file cannot be read or written.
        ShardError: A shard is missing, damaged, or has other tokens than it should.
    """

    def __init__(self, folder: Path, split: str, shard_tokens: int, whole: int = 0, tokens: int = 0) -> None:
        self._folder, self._split, self._shard_tokens = folder, split, shard_tokens
        self.whole, self.tokens = whole, tokens
        for number in range(whole):
            self._require_full(self._path(number))
        self._file = self._reopened()

    @property
    def token_count(self) -> int:
        return self.whole * self._shard_tokens + self.tokens

    def add(self, tokens: np.ndarray) -> None:
        """Append tokens, uint16 of shape (n,).

        Raises:
            OSError: They cannot be written, as on a full disk.
        """
        while len(tokens):
            part, tokens = np.split(tokens, [self._shard_tokens - self.tokens])
            with naming(self._growing(self.whole)):
                self._file.write(part.astype("<u2").tobytes())
            self.tokens += len(part)
            if self.tokens == self._shard_tokens:
                self._complete()
                self._file = self._begun()

    def sync(self) -> None:
        """Make what was added durable.

        Raises:
            OSError: It cannot be written.
        """
        with naming(self._growing(self.whole)):
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self) -> dict[str, int]:
        """Complete the last shard, and return the number of tokens in each file by name.

        Raises:
            OSError: It cannot be written.
        """
        shards = {self._path(number).name: self._shard_tokens for number in range(self.whole)}
        if self.tokens:
            shards[self._path(self.whole).name] = self.tokens
            self._complete()
        else:
            self._file.close()
            self._growing(self.whole).unlink()
        return shards

    def close(self) -> None:
        """Release the file. What was not synced may be lost."""
        try:
            self._file.close()
        except OSError:
            # The disk is full, which the write before has reported. The file is closed all the same.
            return

    def _complete(self) -> None:
        growing, path = self._growing(self.whole), self._path(self.whole)
        with naming(growing):
            self._file.seek(0)
            self._file.write(shard_header(self.tokens))
            self.sync()
            self._file.close()
            growing.replace(path)
        sync_folder(self._folder)
        self.whole, self.tokens = self.whole + 1, 0

    def _begun(self) -> BinaryIO:
        path = self._growing(self.whole)
        with naming(path):
            file = path.open("wb")
            file.write(bytes(SHARD_HEADER_BYTES))
        return file

    def _reopened(self) -> BinaryIO:
        """Reopen the growing shard as it was at the last sync, and discard what came later."""
        growing = self._growing(self.whole)
        if self._path(self.whole).exists():
            # It was completed after the last sync.
            self._path(self.whole).replace(growing)
        names = f"{self._split}_{'[0-9]' * 6}.bin"
        kept = {growing, *map(self._path, range(self.whole))}
        for path in {*self._folder.glob(names), *self._folder.glob(f".{names}.part")} - kept:
            path.unlink()
        if not self.tokens:
            return self._begun()
        size = SHARD_HEADER_BYTES + 2 * self.tokens
        if not growing.exists() or growing.stat().st_size < size:
            raise ShardError(
                f"{growing} lacks some of the {self.tokens} tokens that were written to it; restore it, or prepare "
                "the corpus "
                "again in another folder"
            )
        file = growing.open("r+b")
        file.truncate(size)
        file.seek(size)
        return file

    def _require_full(self, path: Path) -> None:
        tokens = len(read_shard(path)) if path.exists() else 0
        if tokens != self._shard_tokens:
            raise ShardError(
                f"{path} has {tokens:,} tokens, but {self._shard_tokens:,} were written to it; restore it, or prepare "
                "the "
                "corpus again in another folder"
            )

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._split}_{number:06d}.bin"

    def _growing(self, number: int) -> Path:
        return self._folder / f".{self._path(number).name}.part"
