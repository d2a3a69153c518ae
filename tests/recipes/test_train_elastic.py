"""Ranks of real processes that die, raise or meet a NaN: what torchrun and the run make of it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.run_log.reader import read_log

PROGRAM = Path(__file__).with_name("faulty_training.py")


def on_two_ranks(out: Path, scenario: str, text: Path, max_restarts: int) -> tuple[int, str]:
    """Exit status and standard error."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "--max-restarts", str(max_restarts), str(PROGRAM), str(out), scenario, str(text)]
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stderr


def steps_of(folder: Path) -> list[int]:
    return [record["step"] for record in read_log(folder / "run.jsonl").records if record["kind"] == "step"]


def tensors_in(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for value in values for tensor in tensors_in(value)]


def test_a_run_whose_ranks_are_killed_and_whose_checkpoint_breaks_ends_as_one_that_was_left_alone(
    tmp_path: Path, text: Path
) -> None:
    """First rank 1 breaks the newest checkpoint and is killed within a step, then rank 0 while it saves."""
    code, shown = on_two_ranks(tmp_path, "restarts", text, max_restarts=2)
    assert code == 0, shown
    assert shown.count("(exitcode: -9)") == 2, "each kill ended all ranks, once"
    skipped = re.findall(r"skipped \S+/(step-0*6-[0-9a-f]+\.pt): its content does not match the checksum", shown)
    assert len(skipped) == 1, "one rank tells which checkpoint is broken"
    steps_shown = [int(step) for step in re.findall(r"step (\d+)/10", shown)]
    assert steps_shown == [*range(1, 11), *range(1, 7), *range(5, 9), *range(7, 11)]
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    assert steps_of(disturbed) == steps_of(undisturbed) == list(range(1, 11))
    assert {path.name.partition("-")[0] for path in (disturbed / "checkpoints").iterdir()} == {"step"}, "no half of one"
    assert [one.step for one in checkpoints(disturbed / "checkpoints")] == [10, 8]
    found, expected = (load_latest(folder / "checkpoints") for folder in (disturbed, undisturbed))
    assert found is not None and expected is not None
    pairs = list(zip(tensors_in(found[1]), tensors_in(expected[1]), strict=True))
    assert len(pairs) > 20 and all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, text: Path) -> tuple[Path, int, str, float]:
    """Folder, exit status, standard error and the seconds from an error on one rank to the end of all."""
    out = tmp_path_factory.mktemp("stops")
    code, shown = on_two_ranks(out, "stops", text, max_restarts=0)
    return out, code, shown, time.time() - float((out / "raised.txt").read_text())


def test_a_nan_on_one_rank_stops_all_at_its_step_and_each_says_where_it_came_from(
    stopped: tuple[Path, int, str, float],
) -> None:
    out = stopped[0]
    message = (
        r"step 3: loss nan, not finite in the gradient of 'embedding.weight' \(5 in all\), from the loss of rank 1"
    )
    for rank in range(2):
        assert re.search(f"steadydecay: {message}", (out / f"nan.{rank}.txt").read_text()), rank
    records = read_log(out / "nan" / "run.jsonl").records
    assert [record["kind"] for record in records[-2:]] == ["step", "failure"]
    assert records[-1]["step"] == 3 and re.match(message, records[-1]["message"])
    assert [one.step for one in checkpoints(out / "nan" / "checkpoints")] == [2]


def test_a_rank_that_raises_ends_all_of_them_at_once(stopped: tuple[Path, int, str, float]) -> None:
    out, code, shown, seconds = stopped
    assert code == 1
    assert "RuntimeError: of rank 1 alone" in shown
    assert seconds < 60
    assert steps_of(out / "raised") == [1, 2]
    assert [one.step for one in checkpoints(out / "raised" / "checkpoints")] == [2]
