"""`steadydecay prepare`."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.recipes.left_out import LeftOut
from steadydecay.recipes.shard_manifest import ShardManifest


@dataclass
class Prepare:
    """Tokenise a corpus into .bin token shards for `train gpt --data FOLDER`.

    If the command is interrupted, run it again and it continues.
    """

    source: tyro.conf.Positional[str]
    """A text file, JSON lines (.jsonl, also .gz, .zst, .bz2), a parquet file, a folder of one of these kinds, or a URL
    such as hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT."""
    out: GivenPath
    """The folder for the shards, which must be new or empty."""
    tokenizer: str = "gpt2"
    """The tokenizer: gpt2, which comes with steadydecay, a tokenizer.json of Hugging Face's tokenizers, or a folder
    that
    contains one."""
    end_of_text: str | None = None
    """The token to put before each document. The default is <|endoftext|>, or the corresponding token of the
    tokenizer."""
    text_key: str = "text"
    """The key (for JSON lines) or column (for parquet) that contains the text."""
    holdout: float = 0.01
    """The share of the documents to hold out for validation. A hash of their content decides which."""
    shard_tokens: int = 10**8
    """The number of tokens in each shard. The last shard of a split has the rest."""
    workers: int | None = None
    """The number of processes that tokenise. The default is one for each CPU."""

    def run(self) -> None:
        if find_spec("tokenizers") is None:
            raise ValueError("prepare needs tokenizers, which is not installed; run pip install 'steadydecay[prepare]'")
        # These need packages of the extra, which other commands do without.
        from steadydecay.preparation.corpus_to_shards import Corpus, prepare
        from steadydecay.preparation.corpus_tokenizer import load_tokenizer
        from steadydecay.preparation.source_files import source_files

        tokenizer = load_tokenizer(self.tokenizer, self.end_of_text)
        files, left_out = source_files(self.source)
        self._require_outside()
        corpus = Corpus(
            name=self.source,
            files=files,
            tokenizer=tokenizer,
            text_key=self.text_key,
            holdout=self.holdout,
            shard_tokens=self.shard_tokens,
        )
        workers = (os.cpu_count() or 1) if self.workers is None else self.workers
        manifest = prepare(corpus, self.out, workers)
        console = Console()
        for line in summary(manifest, left_out, self.out):
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _require_outside(self) -> None:
        if Path(self.source).is_dir() and self.out.resolve().is_relative_to(Path(self.source).resolve()):
            raise ValueError(
                f"--out is {self.out}, which is inside the corpus {self.source}, so that the shards would become part "
                "of it; "
                "give a folder elsewhere"
            )


def summary(manifest: ShardManifest, left_out: LeftOut, folder: Path) -> list[str]:
    """Say what was prepared, and what was left out."""
    documents, tokenizer = manifest.documents, manifest.tokenizer
    lines = [_of_split(manifest, split, word) for split, word in (("train", "training"), ("val", "validation"))]
    lines.append(
        f"The tokenizer {tokenizer['name']} has {tokenizer['vocabulary_size']:,} tokens. {tokenizer['end_of_text']} "
        f"({tokenizer['end_of_text_id']}) precedes each document."
    )
    if not documents["val"]:
        lines.append(
            f"No document is held out, because there are only {documents['train']:,}. Training will validate on the "
            "end "
            "of these tokens. A larger --holdout holds out some documents."
        )
    return [
        *lines,
        *_left_out_lines(documents, left_out),
        f"Next, run: steadydecay train gpt --size 124m --data {folder}",
    ]


def _of_split(manifest: ShardManifest, split: str, word: str) -> str:
    counts = [count for name, count in manifest.shards.items() if name.startswith(split)]
    documents = manifest.documents[split]
    return f"{word}: {documents:,} documents, {sum(counts):,} tokens in {len(counts):,} shards"


def _left_out_lines(documents: dict[str, Any], left_out: LeftOut) -> list[str]:
    lines = [f"Files that were left out: {left_out}"] if left_out else []
    if documents["empty"]:
        lines.append(f"Documents without text that were left out: {documents['empty']:,}")
    if documents["not_utf8"]:
        named = ", ".join(documents["first_not_utf8"])
        lines.append(f"Documents that are not UTF-8 and were left out: {documents['not_utf8']:,} ({named})")
    return lines
