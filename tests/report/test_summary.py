"""The summary of a run whose log may lack anything; where it lacks nothing, that of `compare`."""

import math
from dataclasses import asdict
from pathlib import Path

import pytest

from report_logs import write_run
from steadydecay.experiments.compare import summarize
from steadydecay.report.runs import load_run
from steadydecay.report.summary import middle_of, summary_of
from steadydecay.run_log.writer import RunLog


@pytest.mark.parametrize("steps", [200, 40])
def test_a_whole_log_is_summed_up_as_compare_does(tmp_path: Path, steps: int) -> None:
    path = write_run(tmp_path / "run", "scion", seed=3, steps=steps)
    assert asdict(summary_of(load_run(path, "run"))) == pytest.approx(asdict(summarize(path.parent)))


def test_accuracy_is_that_of_the_last_validation(tmp_path: Path) -> None:
    assert summary_of(load_run(write_run(tmp_path / "a", top1=0.75), "a")).top1 == 0.75
    assert summary_of(load_run(write_run(tmp_path / "b"), "b")).top1 is None


def test_a_run_cut_short_has_no_numbers_of_its_end(tmp_path: Path) -> None:
    summary = summary_of(load_run(write_run(tmp_path / "run", steps=200, until=110), "run"))
    assert summary.val_loss == pytest.approx(1.5 + 2 * (1 - 100 / 200))
    assert summary.hidden_norm_final > 0 and summary.hidden_norm_max > 0 and summary.grad_norm_mid > 0
    assert math.isnan(summary.grad_norm_final)
    earlier = summary_of(load_run(write_run(tmp_path / "run", steps=200, until=15), "run"))
    assert math.isnan(earlier.val_loss) and math.isnan(earlier.hidden_norm_max) and math.isnan(earlier.grad_norm_mid)


@pytest.mark.parametrize("seed", [None, "x", "NaN", 2])
def test_what_is_not_logged_is_not_a_number(tmp_path: Path, seed: object) -> None:
    path = tmp_path / "run.jsonl"
    with RunLog.open(path, configuration={"optimizer": "mine", "seed": seed}, resume_step=None) as log:
        log.write("step", step=5, loss=1.0)
    summary = asdict(summary_of(load_run(path, "run")))
    known = {"optimizer": "mine", "seed": 2 if seed == 2 else 0, "steps": 5}
    assert {name: summary.pop(name) for name in known} == known
    assert [summary.pop(name) for name in ("top1", "item", "items_per_second")] == [None] * 3
    assert all(math.isnan(value) for value in summary.values())


def test_the_middle_is_a_tenth_of_the_run() -> None:
    assert middle_of(40) == (18.0, 22.0)


@pytest.mark.parametrize(("item", "items", "expected"), [("tokens", 512, 2048), ("tokens", "x", None), (None, 5, None)])
def test_the_speed_is_that_of_the_median_step(tmp_path: Path, item: object, items: object, expected: object) -> None:
    path = tmp_path / "run.jsonl"
    with RunLog.open(path, configuration={"item": item, "items_per_step": items}, resume_step=None) as log:
        for step, seconds in enumerate((8.0, 0.25, 0.25), start=1):
            log.write("step", step=step, loss=1.0, seconds=seconds)
    summary = summary_of(load_run(path, "run"))
    assert (summary.item, summary.items_per_second) == (item if expected else None, expected)
