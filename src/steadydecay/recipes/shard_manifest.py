"""What a folder of token shards says of itself: `token_shards.json`, which `steadydecay prepare` writes beside them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.recipes.token_shards import read_shard
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.plain_file import open_plain

MANIFEST_NAME = "token_shards.json"
MANIFEST_VERSION = 1
# Output layers of such sizes are fast; GPT-2's 50,257 tokens become the 50,304 of the paper.
VOCABULARY_MULTIPLE = 128


@final
@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """The content of `token_shards.json`.

    Attributes:
        version: of this format.
        tokenizer: its name, sha256, vocabulary_size, end_of_text and end_of_text_id.
        source: name, number of files, bytes, and the sha256 of the names and sizes of all files.
        settings: text_key, holdout and shard_tokens.
        documents: how many are in each split and how many were left out, by the reason why.
        shards: tokens by file name; empty until all are written.
        progress: how far the preparation has come; None once all shards are written.
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
        """The vocabulary of a model for these tokens."""
        return -(-self.tokenizer["vocabulary_size"] // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def read_manifest(folder: Path) -> ShardManifest | None:
    """The manifest of a folder, or None if it has none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a manifest, or it is one of another version.
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
            f"{path} is a manifest of version {version!r}; legal is {MANIFEST_VERSION}: prepare the corpus again in "
            "another folder, or use the release of steadydecay that wrote it"
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
    return ValueError(f"{path} is not a manifest of token shards: prepare the corpus again in another folder")


def write_manifest(folder: Path, manifest: ShardManifest) -> None:
    """Replace the manifest of a folder at once.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    text = json.dumps(asdict(manifest), indent=2) + "\n"
    replace_file(folder / MANIFEST_NAME, [text.encode()])


def require_whole(folder: Path, manifest: ShardManifest) -> None:
    """Refuse a folder whose shards are not all there, whole, with as many tokens as the manifest says.

    Raises:
        OSError: a shard cannot be read.
        ShardError: a shard is broken or of another version.
        ValueError: the preparation has not come to its end, or a shard is missing, foreign or of another length.
    """
    if manifest.progress is not None:
        raise ValueError(
            f"the preparation of {folder} has not finished; give its `steadydecay prepare` command again, which "
            "continues where it stopped"
        )
    found = {path.name: len(read_shard(path)) for path in folder.glob("*.bin")}
    wrong = sorted(name for name in {*found, *manifest.shards} if found.get(name) != manifest.shards.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{folder} differs from its {MANIFEST_NAME} in {len(wrong)} shards; the first is {name}, with "
            f"{found.get(name, 'no')} tokens where the manifest says {manifest.shards.get(name, 'none')}: bring the "
            "shards back, or prepare the corpus again in another folder"
        )
