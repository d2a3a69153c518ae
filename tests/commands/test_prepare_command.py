"""`steadydecay prepare`: from real text to a trained step, and one line for each mistake."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from small_tokenizer import write_tokenizer
from steadydecay.cli import main
from steadydecay.preparation.tokenised import split_of
from steadydecay.recipes.no_text import UNKNOWN
from steadydecay.recipes.token_shards import read_shard
from steadydecay.run_log.reader import read_log

TINY = ["layers=1", "width=32", "heads=1", "length=16", "batch_size=4", "evaluation_batches=2", "precision=float32"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, text: Path, one_cpu_thread: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `text` and a tokenizer of bytes."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(text, "text")
    write_tokenizer(Path("tokenizer.json"), "</s>")
    return tmp_path


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_text_is_prepared_and_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        (Path("text") / f"{number}.md").write_text(f"This is document {number}. " * 20)
    held_out = [split_of(path.read_bytes(), 0.4) for path in Path("text").iterdir()].count("val")
    (Path("text") / "picture.png").write_bytes(b"\x89PNG\0")
    (Path("text") / "latin.txt").write_bytes(b"Gr\xf6\xdfe")
    (Path("text") / "empty.txt").touch()
    command = ["prepare", "text", "--out", "shards", "--holdout", "0.4", "--workers", "1"]
    main(command)
    shown = capsys.readouterr()
    train, validation, tokenizer, *left_out, then = shown.out.splitlines()
    tokens = [sum(len(read_shard(path)) for path in Path("shards").glob(f"{split}_*")) for split in ("train", "val")]
    assert 2 < held_out < 20
    assert train == f"training: {23 - held_out} documents, {tokens[0]:,} tokens in 1 shards"
    assert validation == f"validation: {held_out} documents, {tokens[1]:,} tokens in 1 shards"
    assert tokenizer == "The tokenizer gpt2 has 50,257 tokens. <|endoftext|> (50256) precedes each document."
    assert left_out == [
        f"Files that were left out: 1 {UNKNOWN}: picture.png",
        "Documents without text that were left out: 1",
        "Documents that are not UTF-8 and were left out: 1 (document 1 of latin.txt)",
    ]
    assert then == "Next, run: steadydecay train gpt --size 124m --data shards"
    assert "100.0%" in shown.err and "tokens/s" in shown.err
    main(["train", "gpt", *TINY, "--steps", "2", "--data", "shards", "--out", "run"])
    log = read_log("run/run.jsonl")
    assert log.configuration["vocabulary_size"] == 50304
    validation_loss = next(record["loss"] for record in log.records if record["kind"] == "validation")
    assert validation_loss == pytest.approx(np.log(50304), abs=0.5)
    capsys.readouterr()
    main(command)
    assert capsys.readouterr().out.splitlines()[:2] == [train, validation]


def test_another_tokenizer_has_its_own_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    main(["prepare", "text/ast.py", "--out", "shards", "--tokenizer", ".", "--shard-tokens", "20000", "--workers", "1"])
    shown = capsys.readouterr().out
    assert "The tokenizer . has 257 tokens. </s> (256) precedes each document." in shown
    assert "No document is held out, because there are only 1. Training will validate on the end" in shown
    main(["prepare", "text/ast.py", "--out", "all of it", "--tokenizer", ".", "--holdout", "0", "--workers", "1"])
    shown = capsys.readouterr().out
    assert "No document is held out, as --holdout 0 says: training will validate" in shown
    assert "--data 'all of it'" in shown, "a command to be copied"
    main(["train", "gpt", *TINY, "--steps", "1", "--data", "shards", "--out", "run"])
    assert read_log("run/run.jsonl").configuration["vocabulary_size"] == 384


def test_a_tokenizer_that_does_not_match_the_shards_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    main(["prepare", "text/ast.py", "--out", "shards", "--tokenizer", "tokenizer.json", "--workers", "1"])
    told = mistake(["prepare", "text/ast.py", "--out", "shards", "--workers", "1"], capsys)
    assert "shards contains the shards of another preparation (tokenizer sha256:" in told
    assert "tokenizer vocabulary_size: 257, now 50257" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent", "--out", "o"], "source is 'absent', which does not exist"),
        (["text", "--out", "text/shards"], "--out is text/shards, which is inside the corpus text"),
        (["text", "--out", "o", "--workers", "0"], "workers is 0; it must be in [1, inf)"),
        (["text", "--out", "o", "--tokenizer", "gpt-2"], "tokenizer is 'gpt-2', which does not exist. Give gpt2"),
        (["text", "--out", "text"], "--out is text, which is inside the corpus text"),
    ],
    ids=["absent", "inside", "workers", "tokenizer", "the corpus itself"],
)
def test_a_mistake_writes_nothing(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert told in mistake(["prepare", *arguments], capsys)
    assert sorted(folder.rglob("*")) == before


def test_without_its_packages_it_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("steadydecay.commands.prepare.find_spec", lambda name: None)
    told = mistake(["prepare", "text", "--out", "o"], capsys)
    assert "prepare needs tokenizers, which is not installed; run pip install 'steadydecay[prepare]'" in told


def test_processes_that_tokenise_import_no_torch() -> None:
    program = "import sys, steadydecay.preparation.tokenising_processes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
