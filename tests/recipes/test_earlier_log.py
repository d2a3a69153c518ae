"""What a run finds of its own log: holes are said, and a long log without a checkpoint is not overwritten."""

import os
import re
import warnings
from pathlib import Path

import pytest

from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.recipes.earlier_log import require_log_fits, require_replaceable


def log_of(tmp_path: Path, steps: list[int], more: str = "") -> Path:
    path = tmp_path / "run.jsonl"
    lines = [f'{{"kind": "step", "step": {step}, "loss": 1.0}}\n' for step in steps]
    path.write_text('{"kind": "configuration"}\n' + "".join(lines) + more)
    return path


@pytest.mark.parametrize(
    ("steps", "steps_done"),
    [
        (range(1, 61), 60),
        (range(1, 61), 40),
        (range(1, 21), 0),
        ([], 0),
    ],
)
def test_a_whole_log_is_not_worth_a_word(tmp_path: Path, steps: range, steps_done: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_log_fits(log_of(tmp_path, list(steps)), steps_done, checkpoint_every=20)
        require_log_fits(tmp_path / "absent", 0, checkpoint_every=20)


@pytest.mark.parametrize(
    ("steps", "missing"),
    [
        ([*range(1, 21)], "21 to 40"),
        ([], "1 to 40"),
        ([*range(21, 61)], "1 to 20"),
        ([*range(1, 10), *range(12, 20), *range(21, 41)], "10 to 11, 20"),
        ([*range(2, 41, 2)], "1, 3, 5, and 17 more stretches"),
    ],
)
def test_steps_that_are_missing_are_named(tmp_path: Path, steps: list[int], missing: str) -> None:
    """Wherever in the log they are, and whatever else is in it."""
    path = log_of(tmp_path, steps, '{"kind": "watch", "step": 30}\nno record\n{"kind": "step", "st')
    message = rf"{path} lacks steps {re.escape(missing)}, although the checkpoint is of step 40\. The weights are"
    with pytest.warns(UserWarning, match=message) as warned:
        require_log_fits(path, 40, checkpoint_every=20)
    assert len(warned) == 1


def test_no_log_at_all_is_a_hole_too(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"run\.jsonl lacks steps 1 to 40, although"):
        require_log_fits(tmp_path / "run.jsonl", 40, checkpoint_every=20)


def test_a_log_that_went_on_beyond_a_checkpoint_that_is_gone_is_not_overwritten(tmp_path: Path) -> None:
    require_log_fits(log_of(tmp_path, [*range(1, 21)]), 0, checkpoint_every=20)  # Killed while the first was saved.
    message = (
        r"run\.jsonl extends to step 21, but there is no checkpoint beside it, although the first was due at step 20\. "
    )
    with pytest.raises(CheckpointError, match=rf"{message}Restore the checkpoints.*\(--restart\)"):
        require_log_fits(log_of(tmp_path, [*range(1, 22)]), 0, checkpoint_every=20)


def test_what_cannot_be_read_is_no_missing_log(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link"):
        require_log_fits(tmp_path / "link", 0, checkpoint_every=20)
    with pytest.raises(ValueError, match="is a folder, but it must be a regular file"):
        require_log_fits(tmp_path, 0, checkpoint_every=20)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a named pipe, but it must be a regular file"):
        require_log_fits(tmp_path / "pipe", 20, checkpoint_every=20)


def test_only_a_plain_file_or_nothing_is_replaced(tmp_path: Path) -> None:
    require_replaceable(log_of(tmp_path, []))
    require_replaceable(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(
            ValueError, match=rf"{path} is a .*, but only a regular file can be replaced by a new log; move it away"
        ):
            require_replaceable(path)
