"""`--dry-run` of `train` and `compare`, as it is typed."""

from pathlib import Path

import pytest

from steadydecay.cli import main

TINY = ("layers=1", "width=32", "heads=1", "length=16", "batch_size=4")


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Standard output of a command that wrote no file."""
    main([*arguments, "--dry-run"])
    assert not list(Path().iterdir())
    return capsys.readouterr().out


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2 and not list(Path().iterdir())
    return capsys.readouterr().err


def test_a_run_is_counted_and_nothing_is_written(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(["train", "gpt", *TINY, "--data", str(text), "--steps", "9", "--gpus", "1", "2"], capsys)
    assert "scionc seed 0" in out and "9 of 4 × 16 tokens" in out
    assert "vocabulary_size 256" in out and "a guess: 40% of 989 TFLOP/s" in out


def test_the_paper_s_vit_needs_no_imagenet_to_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(["train", "vit", "--size", "s16", "--optimizer", "adamw", "--flops", "1e15"], capsys)
    assert "21,974,632" in out and "90 times the data" in out and "ImageNet-1k" in out and "of 1 PFLOP/s" in out


def test_a_comparison_has_all_its_optimizers_and_seeds(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--optimizers", "adamw,scionc", "--seed", "0", "1", "--data", str(text), "--gpus", "2"]
    out = printed(["compare", "gpt", *TINY, *options], capsys)
    lines = [line.split("  ")[0] for line in out.splitlines()]
    assert lines[1:6] == ["adamw seed 0", "adamw seed 1", "scionc seed 0", "scionc seed 1", "together"]
    assert "memory, 2" in out and "time, 2" in out and "The time is a guess" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "gpt", "--gpus", "2"], "--gpus is given without --dry-run"),
        (["compare", "gpt", "--flops", "1e12"], "--flops is given without --dry-run"),
        (["train", "gpt", "--dry-run", "--gpus", "3"], "gpus has 3; it must be a divisor of batch_size"),
        (["train", "gpt", "--dry-run", "--utilisation", "1.5"], "utilisation is 1.5; it must be in (0, 1]"),
        (["train", "gpt", "--dry-run", "--flops", "0"], "flops is 0.0; it must be in (0, inf)"),
        (["train", "gpt", "--dry-run", "--data", "nothing"], "does not exist"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refusal(arguments, capsys)
