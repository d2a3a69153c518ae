"""Every example runs as a reader would run it, and shows what it is there to show."""

import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from steadydecay.report.report_page import write_report

EXAMPLES = Path(__file__).parents[1] / "examples"
OWN_RECIPE = "own_recipe.py"
SCRIPTS = sorted(
    path.name for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text() and path.name != OWN_RECIPE
)
LINE = re.compile(r"^(constant|corrected) +decay: hidden weight norm +([\d.]+) at mid-run, +([\d.]+) at the end$", re.M)


def test_there_is_one_example_for_each_trainer() -> None:
    names = ["accelerate_loop.py", "huggingface_trainer.py", "lightning_trainer.py", "plain_pytorch.py"]
    assert names == SCRIPTS


def run_example(script: str) -> None:
    """In this process, which has imported the trainers for other tests."""
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


@pytest.fixture
def at_a_readers_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_cpu_thread: None) -> None:
    """Where a warning of the package is an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    warnings.filterwarnings("error", category=UserWarning, module="steadydecay")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_norm_falls_without_the_correction_and_stays_with_it(
    script: str, at_a_readers_place: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(script)
    found = LINE.findall(capsys.readouterr().out)
    shares = {rule: float(at_end) / float(at_mid_run) for rule, at_mid_run, at_end in found}
    assert shares.keys() == {"constant", "corrected"}
    assert shares["constant"] < 0.85, "without the correction the norm falls"
    assert shares["corrected"] == pytest.approx(1, abs=0.15)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_recipe_of_one_s_own_trains_in_fewer_than_60_lines_and_is_reported(
    at_a_readers_place: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (EXAMPLES / OWN_RECIPE).read_text(encoding="utf-8")
    code = source[source.index("class MLP") :]
    assert len(code.splitlines()) < 60
    monkeypatch.setattr(sys, "argv", [OWN_RECIPE, str(tmp_path)])
    run_example(OWN_RECIPE)
    shares = dict(re.findall(r"^(\w+): ([\d.]+)% of the rows", capsys.readouterr().out, re.M))
    assert shares.keys() == {"adamw", "scion", "scionc"} and all(float(share) > 90 for share in shares.values())
    write_report(tmp_path, tmp_path / "report.html")
    assert "The accuracy at that step" in (tmp_path / "report.html").read_text(encoding="utf-8")
