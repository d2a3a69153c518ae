"""Ranks of real processes that die, raise or meet a NaN: what torchrun and the run make of it."""

import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty_training import restarts, stops
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from forked import alone
from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.run_log.reader import read_log


def launched(work: Callable[[Path, Path], None], out: Path, text: Path, max_restarts: int) -> None:
    """What torchrun does on one machine, but that it starts programs."""
    launcher = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        monitor_interval=0.1,
        start_method="fork",
    )

    def shows_its_error(*arguments: Path) -> None:
        try:
            work(*arguments)
        except Exception:
            traceback.print_exc()
            raise

    elastic_launch(launcher, shows_its_error)(out, text)


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
    shown = alone(launched, restarts, tmp_path, text, 2, timeout=300)
    # After the first kill, torchrun may meet rank 0's own error (its peer is gone) before it sees that rank 1 is dead.
    ends = re.findall(r"failed \(exitcode: (-?\d+)\)", shown)
    assert len(ends) == 2 and ends[0] in ("-9", "1") and ends[1] == "-9", "each kill ended all ranks, once"
    skipped = re.findall(r"Skipped \S+/(step-0*6-[0-9a-f]+\.pt): its content does not match the checksum", shown)
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
def stopped(tmp_path_factory: pytest.TempPathFactory, text: Path) -> tuple[Path, str, float]:
    """Folder, what the ranks showed and the seconds from an error on one of them to the end of all."""
    out = tmp_path_factory.mktemp("stops")
    shown = alone(launched, stops, out, text, 0, code=1, timeout=300)
    return out, shown, time.time() - float((out / "raised.txt").read_text())


def test_a_nan_on_one_rank_stops_all_at_its_step_and_each_says_where_it_came_from(
    stopped: tuple[Path, str, float],
) -> None:
    out = stopped[0]
    message = r"NaN or infinity at step 3 \(loss nan\) in the gradient of .* \(5 in all\), caused by the loss of rank 1"
    for rank in range(2):
        assert re.search(f"steadydecay: {message}", (out / f"nan.{rank}.txt").read_text()), rank
    records = read_log(out / "nan" / "run.jsonl").records
    assert [record["kind"] for record in records[-2:]] == ["step", "failure"]
    assert records[-1]["step"] == 3 and re.match(message, records[-1]["message"])
    assert [one.step for one in checkpoints(out / "nan" / "checkpoints")] == [2]


def test_a_rank_that_raises_ends_all_of_them_at_once(stopped: tuple[Path, str, float]) -> None:
    out, shown, seconds = stopped
    assert "RuntimeError: of rank 1 alone" in shown
    assert seconds < 60
    assert steps_of(out / "raised") == [1, 2]
    assert [one.step for one in checkpoints(out / "raised" / "checkpoints")] == [2]
