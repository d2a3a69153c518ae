"""A sweep in its folder, with slots that do not train: order of writing, retries, and what an interruption leaves."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.run_log.folder_lock import FolderInUseError, locked
from steadydecay.sweeps.run_sweep import FailedTrialsError, missing_trials, run_sweep
from steadydecay.sweeps.sweep_tables import is_sweep, read_sweep
from steadydecay.sweeps.table_files import read_csv
from steadydecay.sweeps.trial_row import TrialRow
from steadydecay.trials.trial_folder import Ending, trial_name
from sweep_rows import WritingSlot

RATES = (0.25, 0.5, 1.0)
FIELDS = ("optimizer", "lr")


def recipes() -> list[GPTRecipe]:
    return [gpt_recipe("mini", "scionc", {"lr": lr, "seed": seed, "steps": 20}) for lr in RATES for seed in (0, 1)]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run(out: Path, slot: Any, **options: Any) -> list[TrialRow]:
    return run_sweep(recipes(), FIELDS, out, processes=1, new_slot=lambda: slot, **options)


def test_every_trial_is_a_row_and_every_setting_one_of_the_summary(tmp_path: Path) -> None:
    rows = run(tmp_path / "out", WritingSlot())
    assert [(row.setting["lr"], row.seed, row.status, row.attempts) for row in rows] == [
        (str(lr), seed, "finished", 1) for lr in RATES for seed in (0, 1)
    ]
    assert read_sweep(tmp_path / "out") == rows
    summary = read_csv(tmp_path / "out/sweep_summary.csv")
    assert [(one["lr"], one["n"], float(one["val_loss_mean"])) for one in summary] == [
        (str(lr), "2", pytest.approx(lr + 0.005)) for lr in RATES
    ]
    for name, count in (("sweep", 6), ("sweep_summary", 3)):
        assert pyarrow.parquet.read_table(tmp_path / f"out/{name}.parquet").num_rows == count
    assert sorted(path.name for path in (tmp_path / "out/trials").iterdir()) == sorted(map(trial_name, recipes()))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "trials",
        *(f"{name}.{kind}" for name in ("sweep", "sweep_summary") for kind in ("csv", "parquet")),
    }


def test_the_tables_are_written_after_each_trial_and_a_second_command_trains_the_rest(tmp_path: Path) -> None:
    class Stopped(WritingSlot):
        def train(self, recipe: Any, folder: Path) -> Ending:
            if len(self.trained) == 4:
                # The table of the fourth is written while the fifth trial begins.
                wait_until(lambda: is_sweep(tmp_path) and statuses() == ["finished"] * 4 + ["missing"] * 2)
                raise KeyboardInterrupt
            return super().train(recipe, folder)

    def statuses() -> list[str]:
        return [row.status for row in read_sweep(tmp_path)]

    first, second = Stopped(), WritingSlot()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    assert statuses() == ["finished"] * 4 + ["missing"] * 2
    assert first.has_ended
    assert missing_trials(recipes(), tmp_path) == recipes()[4:]
    rows = run(tmp_path, second)
    assert first.trained + second.trained == [(lr, seed) for lr in RATES for seed in (0, 1)]
    assert all(row.status == "finished" and row.attempts == 1 for row in rows)
    assert missing_trials(recipes(), tmp_path) == []


def test_a_finished_sweep_trains_nothing_and_writes_the_same_tables(tmp_path: Path) -> None:
    run(tmp_path, WritingSlot())
    before = (tmp_path / "sweep.csv").read_bytes()
    slot = WritingSlot()
    run(tmp_path, slot)
    assert slot.trained == []
    assert (tmp_path / "sweep.csv").read_bytes() == before


def test_a_trial_that_fails_is_tried_again_and_the_attempts_are_counted(tmp_path: Path) -> None:
    slot = WritingSlot({0.25: [RuntimeError("node lost")], 0.5: [ValueError("no such data")] * 2})
    slot_for_good = WritingSlot({1.0: [RuntimeError("node lost")] * 6})
    rows = {(row.setting["lr"], row.seed): row for row in run(tmp_path / "a", slot)}
    assert (rows["0.25", 0].status, rows["0.25", 0].attempts) == ("finished", 2)
    assert (rows["0.5", 0].status, rows["0.5", 0].attempts, rows["0.5", 0].message) == ("failed", 1, "no such data")
    rows = {(row.setting["lr"], row.seed): row for row in run(tmp_path / "b", slot_for_good)}
    assert (rows["1.0", 0].status, rows["1.0", 0].attempts) == ("failed", 3)
    assert rows["1.0", 0].message == "RuntimeError: node lost"
    assert rows["1.0", 0].measures == {}
    error = FailedTrialsError([rows["1.0", 0]], 6)
    assert str(error).startswith("1 of 6 trials failed. The first of them is gpt-scionc-seed0-")
    # Failed ones are not ended for good.
    again = WritingSlot()
    assert all(row.status == "finished" for row in run(tmp_path / "b", again))
    assert again.trained == [(1.0, 0), (1.0, 1)]


def test_a_diverged_trial_is_a_result_and_is_not_tried_again(tmp_path: Path) -> None:
    class Diverging(WritingSlot):
        def train(self, recipe: Any, folder: Path) -> Ending:
            super().train(recipe, folder)
            if recipe.lr < 1:
                return Ending("finished")
            with (folder / "run.jsonl").open("a") as log:
                log.write('{"kind": "failure", "step": 20, "message": "loss nan"}\n')
            return Ending("diverged", "loss nan")

    slot = Diverging()
    rows = run(tmp_path, slot)
    assert len(slot.trained) == 6
    assert [(row.status, row.message, row.measures) for row in rows[4:]] == [("diverged", "loss nan", {})] * 2
    again = WritingSlot()
    assert run(tmp_path, again) == rows
    assert again.trained == []


def test_restart_trains_all_of_them_again_and_leaves_other_trials_alone(tmp_path: Path) -> None:
    run(tmp_path, WritingSlot())
    slot = WritingSlot()
    run_sweep(recipes()[:2], FIELDS, tmp_path, processes=1, new_slot=lambda: slot, restart=True)
    assert slot.trained == [(0.25, 0), (0.25, 1)]
    assert len(read_sweep(tmp_path)) == 2
    assert missing_trials(recipes(), tmp_path) == []


def test_one_sweep_at_a_time_runs_in_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUseError):
        run(tmp_path, WritingSlot())
    assert not is_sweep(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a CSV table"),
        ("a,b\n1,2\n", "has no column 'val_loss'; a sweep's table has seed, status"),
        ("holds nothing", "contains no trial"),
        ("status", "is not the table of a sweep: status is 'done'"),
    ],
)
def test_a_table_that_was_edited_is_refused_when_it_is_read(content: str, message: str, tmp_path: Path) -> None:
    run(tmp_path, WritingSlot())
    path = tmp_path / "sweep.csv"
    lines = path.read_text().splitlines(keepends=True)
    edited = {"holds nothing": lines[0], "status": lines[0] + lines[1].replace("finished", "done")}
    path.write_text(edited.get(content, content))
    with pytest.raises(ValueError) as caught:
        read_sweep(tmp_path)
    assert message in str(caught.value)
    # A second command needs nothing of it.
    assert len(run(tmp_path, WritingSlot())) == 6
