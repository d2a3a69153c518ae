"""Rows of single trials: what the log tells, and back from CSV."""

from pathlib import Path

import pytest

from report_logs import write_run
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.report.runs import load_run
from steadydecay.report.summary import summary_of
from steadydecay.sweeps.trial_row import MEASURES, RESULT_COLUMNS, TrialRow, missing_row, parsed_row, row_of
from steadydecay.trials.run_trials import TrialEnd
from steadydecay.trials.trial_folder import Ending

FIELDS = ("optimizer", "lr", "clip")
RECIPE = gpt_recipe("mini", "scion", {"steps": 40, "seed": 3, "lr": 0.02})
SETTING = {"optimizer": "scion", "lr": "0.02", "clip": "none"}


def as_text(row: TrialRow) -> dict[str, str]:
    return {name: "" if cell is None else str(cell) for name, cell in row.cells.items()}


def test_a_finished_trial_has_the_numbers_of_its_log(tmp_path: Path) -> None:
    log = write_run(tmp_path / "trial", "scion", seed=3, steps=40, top1=0.75)
    row = row_of(TrialEnd(RECIPE, tmp_path / "trial", Ending("finished"), attempts=2), FIELDS, 0)
    summary = summary_of(load_run(log, "trial"))
    assert (row.setting, row.seed, row.status, row.attempts, row.trial) == (SETTING, 3, "finished", 2, "trial")
    assert row.measures == {name: getattr(summary, name) for name in MEASURES}
    assert row.measures["top1"] == 0.75
    assert parsed_row(as_text(row)) == row


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_another_end_has_its_message_and_no_number(status: str, tmp_path: Path) -> None:
    write_run(tmp_path / "trial", "scion", seed=3, steps=40, until=30)
    end = TrialEnd(RECIPE, tmp_path / "trial", Ending(status, "loss nan, so"), attempts=1)  # pyright: ignore[reportArgumentType]
    row = row_of(end, FIELDS, 0)
    assert (row.status, row.message, row.measures) == (status, "loss nan, so", {})
    assert parsed_row(as_text(row)) == row


def test_an_earlier_command_s_attempts_are_kept(tmp_path: Path) -> None:
    write_run(tmp_path / "trial", "scion", steps=40)
    end = TrialEnd(RECIPE, tmp_path / "trial", Ending("finished"))
    assert row_of(end, FIELDS, 3).attempts == 3
    assert row_of(end, FIELDS, 0).attempts == 1, "it was killed before it wrote its table"


def test_a_missing_trial_has_a_row(tmp_path: Path) -> None:
    row = missing_row(RECIPE, FIELDS, "name")
    known = {"seed": 3, "status": "missing", "attempts": 0, "trial": "name"}
    assert row.cells == {**SETTING, **dict.fromkeys(RESULT_COLUMNS), **known}
    assert parsed_row(as_text(row)) == row


@pytest.mark.parametrize(
    ("column", "cell"), [("status", "done"), ("seed", "first"), ("val_loss", "low"), ("attempts", "1.5")]
)
def test_a_cell_of_another_type_is_refused(column: str, cell: str) -> None:
    with pytest.raises(ValueError, match=repr(cell)):
        parsed_row({**as_text(missing_row(RECIPE, FIELDS, "name")), column: cell})
