"""The manifest of a folder of token shards: `token_shards.json`, which `steadydecay prepare` writes beside them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.recipes.token_shards import read_shard
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.plain_file import open_plain

MANIFEST_NAME = "token_shards.json"
MANIFEST_VERSION = 1
# Output layers with such sizes are fast. GPT-2's 50,257 tokens become the paper's 50,304.
VOCABULARY_MULTIPLE = 128


@final
@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """The content of `token_shards.json`.

    Attributes:
        version: The version of this format.
        tokenizer: Its name, sha256, vocabulary_size, end_of_text and end_of_text_id.
        source: Its name, number of files, bytes, and the sha256 of the names and sizes of all files.
        settings: text_key, holdout and shard_tokens.
        documents: The number of documents in each split, and of those left out for each reason.
        shards: The number of tokens by file name. It is empty until all shards are written.
        progress: How far the preparation has come. None once all shards are written.
    """

    version: int = MANIFEST_VERSION
    tokenizer: dict[str, Any]
    source: dict[str, Any]
    settings: dict[str, Any]
    documents: dict[str, Any]
    shards: dict[str, int]
    progress: dict[str, Any] | None

    @property
    def padded_vocabulary(self) -> int:
        """The vocabulary size of a model for these tokens."""
        return -(-self.tokenizer["vocabulary_size"] // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def read_manifest(folder: Path) -> ShardManifest | None:
    """Read the manifest of a folder; return None if it has none.

    Raises:
        OSError: The manifest cannot be read.
        ValueError: The file is not a manifest, or it has another version.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    with open_plain(path) as file:
        text = file.read()
    try:
        content = json.loads(text)
        version = content.get("version")
    except (ValueError, AttributeError):
        raise _no_manifest(path) from None
    if version != MANIFEST_VERSION:
        raise ValueError(
            f"{path} is a manifest of version {version!r}; it must have version {MANIFEST_VERSION}. Prepare the corpus "
            "again in another folder, or use the release of steadydecay that wrote it."
        )
    return _checked(path, content)


def _checked(path: Path, content: dict[str, Any]) -> ShardManifest:
    try:
        manifest = ShardManifest(**content)
        is_sound = manifest.padded_vocabulary > 0 and all(isinstance(one, int) for one in manifest.shards.values())
    except (TypeError, KeyError, AttributeError):
        raise _no_manifest(path) from None
    if not is_sound:
        raise _no_manifest(path)
    return manifest


def _no_manifest(path: Path) -> ValueError:
    return ValueError(f"{path} is not a manifest of token shards; prepare the corpus again in another folder")


def write_manifest(folder: Path, manifest: ShardManifest) -> None:
    """Replace the manifest of a folder atomically.

    Raises:
        OSError: The manifest cannot be written. The old one stays.
    """
    text = json.dumps(asdict(manifest), indent=2) + "\n"
    replace_file(folder / MANIFEST_NAME, [text.encode()])


def require_whole(folder: Path, manifest: ShardManifest) -> None:
    """Refuse a folder unless all shards are present and whole, with as many tokens as the manifest says.

    Raises:
        OSError: A shard cannot be read.
        ShardError: A shard is damaged or has another version.
        ValueError: The preparation has not finished, or a shard is missing, unknown or of another length.
    """
    if manifest.progress is not None:
        raise ValueError(
            f"the preparation of {folder} has not finished; run its `steadydecay prepare` command again, which "
            "continues "
            "where it stopped"
        )
    found = {path.name: len(read_shard(path)) for path in folder.glob("*.bin")}
    wrong = sorted(name for name in {*found, *manifest.shards} if found.get(name) != manifest.shards.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{folder} differs from its {MANIFEST_NAME} in {len(wrong)} shards. The first is {name}, with "
            f"{found.get(name, 'no')} tokens where the manifest says {manifest.shards.get(name, 'none')}. Restore the "
            "shards, or prepare the corpus again in another folder."
        )
