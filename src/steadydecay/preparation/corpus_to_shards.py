"""Turn a corpus into a folder of token shards with a fixed hold-out, continuing where an earlier attempt stopped."""

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from steadydecay.preparation.batches import Batch, Place, batches
from steadydecay.preparation.corpus_tokenizer import CorpusTokenizer
from steadydecay.preparation.document_rows import Reading, require_readable
from steadydecay.preparation.growing_shards import GrowingShards
from steadydecay.preparation.preparation_progress import PreparationProgress
from steadydecay.preparation.source_files import SourceFile, is_remote, listing
from steadydecay.preparation.tokenised import SPLITS, Encoding, Tokenised
from steadydecay.preparation.tokenising_processes import tokenised_in_order
from steadydecay.recipes.overrides import differences
from steadydecay.recipes.shard_manifest import (
    MANIFEST_NAME,
    ShardManifest,
    read_manifest,
    require_whole,
    write_manifest,
)
from steadydecay.run_log.folder_lock import LOCK_NAME, locked
from steadydecay.theory.validation import require_in

SECONDS_BETWEEN_SYNCS = 10.0
# How many of the documents that are left out because they are not UTF-8 are named.
NAMED = 5


@final
@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What to prepare, and how.

    Attributes:
        name: The name of the source, for messages.
        files: The files in the order in which they are read.
        tokenizer: The tokenizer to use.
        text_key: The key or column that contains the text, in JSON lines and parquet.
        holdout: The share of the documents to validate on, 0 ≤ holdout < 1.
        shard_tokens: The number of tokens in each shard but the last of a split, 1 ≤ shard_tokens < 2³¹.
    """

    name: str
    files: list[SourceFile]
    tokenizer: CorpusTokenizer
    text_key: str = "text"
    holdout: float = 0.01
    shard_tokens: int = 10**8


def prepare(
    corpus: Corpus,
    folder: Path,
    processes: int,
    *,
    seconds_between_syncs: float = SECONDS_BETWEEN_SYNCS,
) -> ShardManifest:
    """Write the token shards of a corpus, or continue to do so. A complete folder is checked and left unchanged.

    The files have the same bytes for any number of processes, and however often the work was interrupted.

    Args:
        corpus: What to prepare.
        folder: The folder for the shards, created if it is missing. It must be empty or belong to the same corpus.
        processes: The number of processes that tokenise, ≥ 1.
        seconds_between_syncs: After a kill, at most this many seconds of work are repeated.

    Returns:
        The manifest of the folder.

    Raises:
        FolderInUseError: Another process is writing to the folder.
        OSError: A file cannot be read or written, as on a full disk. The same call continues.
        ShardError: A shard in the folder is damaged or has another version.
        ValueError: A number is outside its range, a file is not a corpus, there is no document, or the folder contains
            something else.
    """
    require_in("holdout", corpus.holdout, 0, 1, include_low=True, remedy="0.01 holds out one document in a hundred")
    require_in("shard_tokens", corpus.shard_tokens, 1, 2**31, include_low=True)
    require_in("workers", processes, 1, include_low=True)
    _require_readable(corpus)
    with locked(folder):
        manifest = _begun_manifest(corpus, folder)
        if manifest.progress is not None:
            manifest = _finished(corpus, folder, manifest, processes, seconds_between_syncs)
        require_whole(folder, manifest)
    return manifest


def _require_readable(corpus: Corpus) -> None:
    """Check files before anything is written. On a network, one stands for all, because each check takes a second."""
    local = [file for file in corpus.files if not is_remote(file.path)]
    for file in local or corpus.files[:1]:
        require_readable(file, corpus.text_key)


def _begun_manifest(corpus: Corpus, folder: Path) -> ShardManifest:
    wanted = ShardManifest(
        tokenizer=corpus.tokenizer.facts(),
        source={"name": corpus.name, **listing(corpus.files)},
        settings={name: getattr(corpus, name) for name in ("text_key", "holdout", "shard_tokens")},
        documents={**dict.fromkeys(SPLITS, 0), "empty": 0, "not_utf8": 0, "first_not_utf8": []},
        shards={},
        progress={"place": Place(0, 0), "bytes_read": 0, **dict.fromkeys(SPLITS, (0, 0))},
    )
    if (found := read_manifest(folder)) is None:
        _require_empty(folder)
    if found is None or _is_at_the_start(found):
        write_manifest(folder, wanted)
        return wanted
    if changed := differences(_identity(found), _identity(wanted)):
        raise ValueError(
            f"{folder} contains the shards of another preparation ({'; '.join(changed)}). Choose another folder "
            "(--out), "
            "or delete that one."
        )
    return found


def _is_at_the_start(manifest: ShardManifest) -> bool:
    """Return whether nothing would be lost by other settings, as after a mistake in the first ones."""
    return manifest.progress is not None and Place(*manifest.progress["place"]) == Place(0, 0)


def _identity(manifest: ShardManifest) -> dict[str, Any]:
    """Return what must be the same to continue. Names of paths may be spelled in another way."""
    parts = {"tokenizer": manifest.tokenizer, "source": manifest.source, "": manifest.settings}
    return {
        f"{part} {name}".strip(): value
        for part, facts in parts.items()
        for name, value in facts.items()
        if name != "name"
    }


def _require_empty(folder: Path) -> None:
    # The rest of an interrupted first manifest is hidden and will be replaced.
    ours = (LOCK_NAME, f".{MANIFEST_NAME}")
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(ours))
    if others:
        raise ValueError(
            f"{folder} contains something else ({', '.join(others[:3])}). The folder must be new, empty, or one that "
            "`steadydecay prepare` has written; choose another one (--out)."
        )


def _finished(
    corpus: Corpus, folder: Path, manifest: ShardManifest, processes: int, seconds_between_syncs: float
) -> ShardManifest:
    progress = manifest.progress
    assert progress is not None
    encoding = Encoding(corpus.tokenizer, corpus.holdout)
    reading = Reading(corpus.text_key)
    with ExitStack() as held:
        splits: dict[str, GrowingShards] = {}
        for split in SPLITS:
            splits[split] = GrowingShards(folder, split, corpus.shard_tokens, *progress[split])
            held.callback(splits[split].close)
        shown = held.enter_context(PreparationProgress(manifest.source["bytes"], progress["bytes_read"]))
        read = batches(corpus.files, reading, Place(*progress["place"]))
        results = held.enter_context(closing(tokenised_in_order(read, encoding, processes)))
        last_sync = time.monotonic()
        for batch, result in results:
            for split, shards in splits.items():
                shards.add(result.tokens[split])
            manifest = _counted(manifest, batch, result, splits)
            if time.monotonic() - last_sync >= seconds_between_syncs:
                _sync(folder, manifest, splits)
                last_sync = time.monotonic()
            shown.update(batch.bytes_read, _document_count(manifest.documents), _token_count(splits))
        _require_documents(corpus, manifest.documents)
        finished = {name: count for shards in splits.values() for name, count in shards.finish().items()}
    manifest = replace(manifest, shards=finished, progress=None)
    write_manifest(folder, manifest)
    return manifest


def _counted(
    manifest: ShardManifest, batch: Batch, result: Tokenised, splits: Mapping[str, GrowingShards]
) -> ShardManifest:
    before = manifest.documents
    names = [f"document {batch.begin.row + number + 1} of {batch.name}" for number in result.not_utf8]
    documents = {
        **{split: before[split] + result.documents[split] for split in SPLITS},
        "empty": before["empty"] + result.empty,
        "not_utf8": before["not_utf8"] + len(names),
        "first_not_utf8": (before["first_not_utf8"] + names)[:NAMED],
    }
    progress = {
        "place": batch.end,
        "bytes_read": batch.bytes_read,
        **{split: (shards.whole, shards.tokens) for split, shards in splits.items()},
    }
    return replace(manifest, documents=documents, progress=progress)


def _sync(folder: Path, manifest: ShardManifest, splits: Mapping[str, GrowingShards]) -> None:
    # Sync the tokens first, because a manifest that outlives a crash must not be ahead of them.
    for shards in splits.values():
        shards.sync()
    write_manifest(folder, manifest)


def _require_documents(corpus: Corpus, documents: Mapping[str, Any]) -> None:
    if documents["train"]:
        return
    left_out = f"{documents['empty']} empty ones and {documents['not_utf8']} that are not UTF-8 were left out"
    if not documents["val"]:
        raise ValueError(
            f"{corpus.name} contains no document; {left_out}. Give another source"
            + (", or convert it with iconv -t UTF-8." if documents["not_utf8"] else ".")
        )
    raise ValueError(
        f"holdout is {corpus.holdout}, which holds out all {documents['val']} documents of {corpus.name} for "
        "validation; "
        "give a smaller share (--holdout 0 holds out none) or more documents"
    )


def _document_count(documents: Mapping[str, Any]) -> int:
    return sum(documents[split] for split in SPLITS)


def _token_count(splits: Mapping[str, GrowingShards]) -> int:
    return sum(shards.token_count for shards in splits.values())
