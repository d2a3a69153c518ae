"""Every example runs as a reader would run it, and shows what it is there to show."""

import os
import re
import subprocess
import sys
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


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_norm_falls_without_the_correction_and_stays_with_it(script: str, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::UserWarning:steadydecay", str(EXAMPLES / script)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    shares = {rule: float(at_end) / float(at_mid_run) for rule, at_mid_run, at_end in LINE.findall(run.stdout)}
    assert shares.keys() == {"constant", "corrected"}, run.stdout
    assert shares["constant"] < 0.85, "without the correction the norm falls"
    assert shares["corrected"] == pytest.approx(1, abs=0.15)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_recipe_of_one_s_own_trains_in_fewer_than_60_lines_and_is_reported(tmp_path: Path) -> None:
    source = (EXAMPLES / OWN_RECIPE).read_text(encoding="utf-8")
    code = source[source.index("class MLP") :]
    assert len(code.splitlines()) < 60
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / OWN_RECIPE), str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    shares = dict(re.findall(r"^(\w+): ([\d.]+)% of the rows", run.stdout, re.M))
    assert shares.keys() == {"adamw", "scion", "scionc"} and all(float(share) > 90 for share in shares.values())
    write_report(tmp_path, tmp_path / "report.html")
    assert "Accuracy at that step" in (tmp_path / "report.html").read_text(encoding="utf-8")
