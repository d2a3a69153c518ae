"""Load token data from a path: the embedded text, text files and folders, `.bin` shards and folders of them."""

from pathlib import Path

import numpy as np

from steadydecay.recipes.left_out import BESIDE_SHARDS, LeftOut, warn_left_out
from steadydecay.recipes.shard_manifest import MANIFEST_NAME, ShardManifest, read_manifest, require_whole
from steadydecay.recipes.texts import (
    DOCUMENT_SEPARATOR,
    VALIDATION_ONE_IN,
    embedded_files,
    split_file,
    split_texts,
    texts_below,
)
from steadydecay.recipes.token_shards import Shard, read_shard
from steadydecay.recipes.tokens import TokenData, TokenPiece, TokenStream

BYTE_VOCABULARY = 256
SHARD_VOCABULARY = 50304


def load_tokens(path: str | Path | None) -> TokenData:
    """Load the token data that `path` names.

    Args:
        path: None for the embedded text, a text file, a folder of text files, a `.bin` shard, or a folder of shards.

    Raises:
        OSError: The path does not exist or cannot be read.
        ShardError: A shard is damaged.
        ValueError: The path is empty, is not a regular file, or contains no text or no training shard.
    """
    if path is None:
        return embedded_text()
    source, name = Path(path), str(path)
    if not name:
        raise ValueError(
            "data is '', perhaps because a shell variable is not set. Give a path (. is the current folder), or omit "
            "--data to train on the embedded text."
        )
    _require_target(source)
    if not source.exists():
        raise FileNotFoundError(
            f"data is {name!r}, which does not exist. Give a text file, a folder of text files, a .bin shard or a "
            "folder "
            "of .bin shards, or omit it (None) to train on the embedded text."
        )
    if source.is_dir():
        content = sorted(source.iterdir())
        if any(path.suffix == ".bin" or path.name == MANIFEST_NAME for path in content):
            return _shard_folder(name, content)
        return _text_data(name, *split_texts(texts_below(source)))
    if source.suffix == ".bin":
        return _split_shard(name, source, _vocabulary_size(read_manifest(source.parent)))
    return _text_data(name, *split_file(source))


def embedded_text() -> TokenData:
    """Load the source code and prose of the interpreter's standard library, without its tests: 12 MB, split by file.

    Raises:
        ValueError: The interpreter was installed without its source code.
    """
    return _text_data("embedded", *split_texts(embedded_files()))


def _text_data(name: str, train: list[bytes], validation: list[bytes]) -> TokenData:
    return _data(name, BYTE_VOCABULARY, [_joined(name, train)], [_joined(name, validation)])


def _joined(name: str, texts: list[bytes]) -> TokenPiece:
    return TokenPiece(name, np.frombuffer(DOCUMENT_SEPARATOR.join(texts), dtype=np.uint8))


def _shard_folder(name: str, content: list[Path]) -> TokenData:
    paths = [path for path in content if path.suffix == ".bin"]
    left_out = LeftOut()
    for path in content:
        left_out.add(path.name, "" if path in paths or path.name == MANIFEST_NAME else BESIDE_SHARDS)
    for path in paths:
        _require_target(path)
    if (manifest := read_manifest(Path(name))) is not None:
        require_whole(Path(name), manifest)
    vocabulary_size = _vocabulary_size(manifest)
    warn_left_out(Path(name), left_out)
    if len(paths) == 1:
        return _split_shard(name, paths[0], vocabulary_size)
    validation = [path for path in paths if "val" in path.name] or paths[-1:]
    train = [_shard_piece(path) for path in paths if path not in validation]
    if not train:
        raise ValueError(
            f'every .bin file in {name} has "val" in its name, so no shard is left to train on; rename or add one'
        )
    return _data(name, vocabulary_size, train, list(map(_shard_piece, validation)))


def _vocabulary_size(manifest: ShardManifest | None) -> int:
    return SHARD_VOCABULARY if manifest is None else manifest.padded_vocabulary


def _require_target(path: Path) -> None:
    """Raise FileNotFoundError for a link with a missing target, such as a disk that is not mounted now."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(
            f"{path} is a link to {path.readlink()}, which does not exist; restore the target or remove the link"
        )


def _split_shard(name: str, path: Path, vocabulary_size: int) -> TokenData:
    tokens = len(read_shard(path))
    cut = tokens - tokens // VALIDATION_ONE_IN
    return _data(name, vocabulary_size, [_shard_piece(path, 0, cut)], [_shard_piece(path, cut, tokens)])


def _shard_piece(path: Path, start: int = 0, stop: int | None = None) -> TokenPiece:
    return TokenPiece(str(path), Shard(path, start, len(read_shard(path)) if stop is None else stop))


def _data(name: str, vocabulary_size: int, train: list[TokenPiece], validation: list[TokenPiece]) -> TokenData:
    return TokenData(
        train=TokenStream(f"the training split of {name}", tuple(train), vocabulary_size),
        validation=TokenStream(f"the validation split of {name}", tuple(validation), vocabulary_size),
        vocabulary_size=vocabulary_size,
        name=name,
    )
