"""`steadydecay reproduce NAME`: prints the claim, the numbers and the verdicts, and writes the picture."""

import re
from pathlib import Path

import pytest

from steadydecay.cli import main
from steadydecay.commands.reproduce import EXPERIMENTS, Reproduce


@pytest.fixture(autouse=True)
def one_thread(one_cpu_thread: None) -> None:
    """Tests run side by side."""


def test_the_names_on_the_command_line_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    names = re.search(r"\{([\w,]+)\}", capsys.readouterr().out)
    assert names
    assert names.group(1).split(",") == list(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_prints_its_claim_and_writes_its_picture(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["reproduce", name, "--out", str(tmp_path / "new" / "folder"), "--steps", "3"])
    shown = capsys.readouterr().out
    assert shown.startswith("claim: ")
    assert "holds: " in shown or "DOES NOT HOLD: " in shown
    assert f"{name}.png" in shown.replace("\n", "")
    assert (tmp_path / "new" / "folder" / f"{name}.png").exists()


def test_the_worked_example_is_printed_to_its_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", "seed003", "--out", str(tmp_path), "--steps", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("holds: one step of AdamW takes 0.4 to 0.399854") for line in lines)
    assert any(line.startswith("holds: one step of Adam-L2 takes 0.4 to 0.399866") for line in lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["fig7", "--steps", "0"], r"steps is 0; legal is \[1, inf\)"),
        (["fig7", "--out", "file"], r".*file.*"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", *options])
    assert exit_.value.code == 2
    assert re.fullmatch(f"steadydecay: {message}\n", capsys.readouterr().err)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_unknown_experiment_shows_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "fig8"])
    assert "fig7" in capsys.readouterr().err


def test_the_defaults_are_the_experiments_own() -> None:
    assert Reproduce("fig7").steps is None
