"""A corpus on a real disk becomes the same shards whatever happens on the way."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from small_tokenizer import write_tokenizer
from steadydecay.preparation import corpus_to_shards as module
from steadydecay.preparation.corpus_to_shards import Corpus, prepare
from steadydecay.preparation.corpus_tokenizer import CorpusTokenizer, encoder_of, load_tokenizer
from steadydecay.preparation.growing_shards import GrowingShards
from steadydecay.preparation.source_files import SourceError, source_files
from steadydecay.preparation.tokenised import split_of
from steadydecay.preparation.tokenising_processes import tokenised_in_order
from steadydecay.recipes.corpus import load_tokens
from steadydecay.recipes.shard_manifest import read_manifest
from steadydecay.recipes.token_shards import ShardError, read_shard

PROGRAM = """
import sys, time
from pathlib import Path
from steadydecay.preparation import batches
from steadydecay.preparation.corpus_to_shards import Corpus, prepare
from steadydecay.preparation.corpus_tokenizer import load_tokenizer
from steadydecay.preparation.source_files import source_files
batches.BATCH_ROWS = 3
source, tokenizer, out, pause = sys.argv[1:]
def slow(rows, taken=batches._taken):
    for one in taken(rows):
        time.sleep(float(pause))
        yield one
batches._taken = slow
corpus = Corpus(name=source, files=source_files(source)[0], tokenizer=load_tokenizer(tokenizer), holdout=0.1,
                shard_tokens=900)
prepare(corpus, Path(out), 1, seconds_between_syncs=0.0)
"""


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json", "<|endoftext|>")


@pytest.fixture(scope="module")
def tokenizer(tokenizer_file: Path) -> CorpusTokenizer:
    """Each byte is a token, so that texts are long and tests are short."""
    return load_tokenizer(str(tokenizer_file))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three parquet files in FineWeb-Edu's layout: words of this test, an empty text and one that is missing."""
    folder = tmp_path_factory.mktemp("source")
    words = Path(__file__).read_text(encoding="utf-8").split()
    for number in range(3):
        texts: list[str | None] = [" ".join(words[number * 60 + row :][: 10 + 7 * row]) for row in range(20)]
        texts[5:7] = ["", None]
        columns = {"text": texts, "id": [f"<urn:{row}>" for row in range(20)], "dump": ["local"] * 20}
        columns |= {"url": ["file://"] * 20, "language_score": [0.9] * 20, "token_count": [100] * 20}
        pq.write_table(pa.table(columns), folder / f"{number:03d}_00000.parquet", row_group_size=8)
    return folder


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadydecay.preparation.batches.BATCH_ROWS", 3)


def corpus_of(source: Path, tokenizer: CorpusTokenizer, **changes: Any) -> Corpus:
    files, _ = source_files(str(source))
    given = {"name": str(source), "files": files, "tokenizer": tokenizer, "holdout": 0.1, "shard_tokens": 900}
    return Corpus(**(given | changes))


@pytest.fixture(scope="module")
def whole(source: Path, tokenizer: CorpusTokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted preparation writes."""
    folder = tmp_path_factory.mktemp("whole")
    prepare(corpus_of(source, tokenizer), folder, 1)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_shards_hold_each_document_after_the_end_of_text(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path
) -> None:
    manifest = prepare(corpus_of(source, tokenizer), tmp_path / "new/out", 1)
    encoder, expected = encoder_of(tokenizer.content), {"train": [], "val": []}
    tables = [pq.read_table(path)["text"].to_pylist() for path in sorted(source.iterdir())]
    texts = [text for table in tables for text in table if text]
    for text in texts:
        ids = encoder.encode(text, add_special_tokens=False).ids
        expected[split_of(text.encode(), 0.1)] += [256, *ids]
    found = {split: sorted((tmp_path / "new/out").glob(f"{split}_*.bin")) for split in expected}
    for split, paths in found.items():
        assert np.concatenate([read_shard(path) for path in paths]).tolist() == expected[split]
        assert [len(read_shard(path)) for path in paths[:-1]] == [900] * (len(paths) - 1)
    assert len(found["train"]) > 5 and len(found["val"]) >= 1
    documents = dict(manifest.documents)
    assert documents.pop("train") + documents.pop("val") == len(texts) == 54
    assert documents == {"empty": 6, "not_utf8": 0, "first_not_utf8": []}
    assert sum(manifest.shards.values()) == sum(map(len, expected.values()))


def test_training_reads_the_hold_out_and_the_vocabulary(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path
) -> None:
    manifest = prepare(corpus_of(source, tokenizer), tmp_path, 1)
    data = load_tokens(tmp_path)
    assert data.vocabulary_size == 384
    for stream, split in ((data.train, "train"), (data.validation, "val")):
        names = [name for name in manifest.shards if name.startswith(split)]
        assert [Path(piece.name).name for piece in stream.pieces] == names
        assert stream.token_count == sum(manifest.shards[name] for name in names)


def test_other_numbers_of_processes_give_the_same(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    prepare(corpus_of(source, tokenizer), tmp_path, 2)
    assert content(tmp_path) == whole


def test_a_killed_preparation_continues_to_the_same_bytes(
    source: Path, tokenizer_file: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(source), str(tokenizer_file), str(tmp_path)]
    started = subprocess.Popen([*command, "0.05"], stderr=subprocess.DEVNULL)
    while not (tmp_path / "train_000002.bin").exists():
        assert started.poll() is None
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    stopped = read_manifest(tmp_path)
    assert stopped is not None and stopped.progress is not None and stopped.progress["place"] != [0, 0]
    assert content(tmp_path) != whole
    with pytest.raises(ValueError, match=r"the preparation of .* has not finished; run its `steadydecay prepare` com"):
        load_tokens(tmp_path)
    subprocess.run([*command, "0"], check=True, stderr=subprocess.DEVNULL)
    assert content(tmp_path) == whole


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stops", [[0], [2, 1], [7, 3, 4]], ids=str)
@pytest.mark.parametrize("is_synced", [True, False])
def test_a_stop_after_any_batch_changes_nothing(
    source: Path,
    tokenizer: CorpusTokenizer,
    tmp_path: Path,
    whole: dict[str, bytes],
    stops: list[int],
    is_synced: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 0.0 if is_synced else 1e9
    for stop in stops:

        def stopping(*arguments: Any, stop: int = stop) -> Iterator[Any]:
            for number, result in enumerate(tokenised_in_order(*arguments)):
                if number == stop:
                    raise Stopped
                yield result

        with monkeypatch.context() as patched, pytest.raises(Stopped):
            patched.setattr(module, "tokenised_in_order", stopping)
            prepare(corpus_of(source, tokenizer), tmp_path, 1, seconds_between_syncs=seconds)
    prepare(corpus_of(source, tokenizer), tmp_path, 1, seconds_between_syncs=seconds)
    assert content(tmp_path) == whole


def test_a_stop_between_the_last_shard_and_the_manifest_changes_nothing(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = GrowingShards.finish

    def finishing(shards: GrowingShards) -> Mapping[str, int]:
        finish(shards)
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(GrowingShards, "finish", finishing)
        prepare(corpus_of(source, tokenizer), tmp_path, 1, seconds_between_syncs=0.0)
    prepare(corpus_of(source, tokenizer), tmp_path, 1)
    assert content(tmp_path) == whole


def test_what_is_complete_is_checked_and_left(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    prepare(corpus_of(source, tokenizer), tmp_path, 1)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    prepare(corpus_of(source, tokenizer), tmp_path, 1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    (tmp_path / "train_000001.bin").unlink()
    with pytest.raises(ValueError, match=r"in 1 shards\. The first is train_000001\.bin, with no tokens where the man"):
        prepare(corpus_of(source, tokenizer), tmp_path, 1)
    broken = tmp_path / "train_000000.bin"
    broken.write_bytes(broken.read_bytes()[:-1])
    for again in (lambda: prepare(corpus_of(source, tokenizer), tmp_path, 1), lambda: load_tokens(tmp_path)):
        with pytest.raises(ShardError, match=r"train_000000\.bin has 2823 bytes"):
            again()


# A full disk


def test_a_full_disk_loses_nothing(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = GrowingShards.add
    added = 0

    class FullDisk:
        """A file that takes no more."""

        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            self.file.write(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def adding(shards: GrowingShards, tokens: np.ndarray) -> None:
        nonlocal added
        added += 1
        if added > 10:
            shards._file = FullDisk(shards._file)  # pyright: ignore[reportAttributeAccessIssue]
        add(shards, tokens)

    with monkeypatch.context() as patched:
        patched.setattr(GrowingShards, "add", adding)
        with pytest.raises(OSError, match=r"No space left on device: '.*train_00000\d\.bin\.part'"):
            prepare(corpus_of(source, tokenizer), tmp_path, 1, seconds_between_syncs=0.0)
    prepare(corpus_of(source, tokenizer), tmp_path, 1)
    assert content(tmp_path) == whole


def test_a_limit_on_the_size_of_files_is_an_error_that_names_the_file(
    source: Path, tokenizer_file: Path, tmp_path: Path
) -> None:
    """What the operating system itself says, of a process of its own."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n" + PROGRAM
    command = [sys.executable, "-c", limited, str(source), str(tokenizer_file), str(tmp_path), "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large: '" in done.stderr and ".bin.part'" in done.stderr.splitlines()[-1]


# Refusals


def test_shards_of_another_preparation_are_left_as_they_are(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    corpus = corpus_of(source, tokenizer)
    prepare(corpus, tmp_path, 1)
    other_tokenizer = replace(tokenizer, sha256="0" * 64, vocabulary_size=9)
    for other, message in (
        (
            replace(corpus, tokenizer=other_tokenizer),
            r"tokenizer sha256: '.*, now '000.*; tokenizer vocabulary_size",
        ),
        (replace(corpus, files=corpus.files[:2]), r"source files: 3, now 2"),
        (replace(corpus, holdout=0.2), r"holdout: 0\.1, now 0\.2\)\. Choose another folder \(--out\), or delete"),
        (replace(corpus, shard_tokens=901), r"shard_tokens: 900, now 901"),
        (replace(corpus, text_key="id"), r"text_key: 'text', now 'id'"),
    ):
        with pytest.raises(ValueError, match=rf"contains the shards of another preparation \(.*{message}"):
            prepare(other, tmp_path, 1)
    assert content(tmp_path) == whole
    prepare(replace(corpus, name="spelled/in/another/way"), tmp_path, 1)


def test_a_mistake_at_the_start_does_not_hold_the_folder(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "some text"}\n' * 2)
    corpus = corpus_of(tmp_path / "a.jsonl", tokenizer, holdout=0.0)
    with pytest.raises(SourceError, match="has no key 'text'; it has body"):
        prepare(corpus, tmp_path / "out", 1)
    assert prepare(replace(corpus, text_key="body"), tmp_path / "out", 1).documents["train"] == 2


def test_a_folder_that_holds_something_else_is_left_as_it_is(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"contains something else \(thesis\.tex\)\. The folder must be new, empty"):
        prepare(corpus_of(source, tokenizer), tmp_path, 1)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize(
    ("content_of", "message"),
    [
        (
            {"version": 2},
            r"token_shards\.json is a manifest of version 2; it must have version 1\. Prepare the corpus again in",
        ),
        ({"version": 1}, r"token_shards\.json is not a manifest of token shards; prepare the corpus again in another"),
        ([], r"token_shards\.json is not a manifest"),
    ],
    ids=["version 2", "without fields", "a list"],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, content_of: Any, message: str
) -> None:
    (tmp_path / "token_shards.json").write_text(json.dumps(content_of))
    for refused in (lambda: prepare(corpus_of(source, tokenizer), tmp_path, 1), lambda: load_tokens(tmp_path)):
        with pytest.raises(ValueError, match=message):
            refused()
    assert list(content(tmp_path)) == ["token_shards.json"]


@pytest.mark.parametrize(
    ("text", "holdout", "message"),
    [
        (
            b"",
            0.0,
            r"contains no document; 1 empty ones and 0 that are not UTF-8 were left out\. Give another source\.$",
        ),
        (b"Gr\xf6\xdfe", 0.0, r"0 empty ones and 1 that are not UTF-8 were left out\. .* with iconv -t UTF-8\.$"),
        (b"text", 0.9999, r"holdout is 0\.9999, which holds out all 1 documents of .* for validation; give a smaller"),
    ],
    ids=["empty", "latin-1", "all held out"],
)
def test_nothing_to_train_on_is_refused(
    tokenizer: CorpusTokenizer, tmp_path: Path, text: bytes, holdout: float, message: str
) -> None:
    (tmp_path / "a.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(tmp_path / "a.txt", tokenizer, holdout=holdout), tmp_path / "out", 1)
    with pytest.raises(ValueError, match="has not finished"):
        load_tokens(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 1.0}, r"holdout is 1\.0; it must be in \[0, 1\)"),
        ({"shard_tokens": 0}, r"shard_tokens is 0; it must be in \[1, 2147483648\)"),
    ],
    ids=["holdout", "shard_tokens"],
)
def test_a_number_outside_its_range_is_refused(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(source, tokenizer, **changes), tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_cut_off_is_refused_before_anything_is_written(
    source: Path, tokenizer: CorpusTokenizer, tmp_path: Path
) -> None:
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    last = tmp_path / "002_00000.parquet"
    last.write_bytes(last.read_bytes()[:-5])
    with pytest.raises(SourceError, match=r"002_00000\.parquet cannot be read"):
        prepare(corpus_of(tmp_path, tokenizer), tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_documents_that_are_not_utf8_are_counted_and_the_first_named(
    tokenizer: CorpusTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b'{"text": "plain"}'] + [b'{"text": "Gr\xf6\xdfe"}'] * 7
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    manifest = prepare(corpus_of(tmp_path / "a.jsonl", tokenizer, holdout=0.0), tmp_path / "out", 1)
    assert (manifest.documents["train"], manifest.documents["not_utf8"]) == (1, 7)
    assert manifest.documents["first_not_utf8"] == [f"document {number} of a.jsonl" for number in range(2, 7)]
