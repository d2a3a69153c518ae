"""A run that is cut and resumed is, bit for bit, the run that was not: after kill -9, broken files, mistakes."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from forked import FORKED
from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.train import RecipeChangedError, train
from steadydecay.run_log.reader import read_log

COMPARED = ("adamw", "scion", "scionc")
STEPS = 300
CHECKPOINT_EVERY = 30
KILLS = 4

Reference = Callable[[str], tuple[GPTRecipe, Path]]


def one_cpu_thread() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)


pytestmark = pytest.mark.usefixtures("one_cpu_thread")


@pytest.fixture(scope="module")
def reference(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The recipe of an optimizer, and the folder of its run that nothing interrupted."""
    small = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "evaluation_batches": 2}
    often = {"steps": STEPS, "checkpoint_every": CHECKPOINT_EVERY, "evaluate_every": 35, "layers_every": 25}
    done: dict[str, tuple[GPTRecipe, Path]] = {}

    def run(optimizer: str) -> tuple[GPTRecipe, Path]:
        if optimizer not in done:
            recipe = gpt_recipe("mini", optimizer, {"data": str(text), "precision": "float32", **small, **often})
            done[optimizer] = recipe, tmp_path_factory.mktemp(optimizer)
            train(*done[optimizer])
        return done[optimizer]

    return run


def finished_copy(reference: Reference, folder: Path) -> GPTRecipe:
    recipe, done = reference("scionc")
    shutil.copytree(done, folder, dirs_exist_ok=True)
    return recipe


def logged(folder: Path) -> list[dict[str, Any]]:
    """All records but for the seconds, which differ."""
    return [{key: value for key, value in one.items() if key != "seconds"} for one in records_of(folder)]


def records_of(folder: Path) -> list[dict[str, Any]]:
    path = folder / "run.jsonl"
    return read_log(path).records if path.exists() else []


def state_of(folder: Path) -> dict[str, Any]:
    loaded = load_latest(folder / "checkpoints")
    assert loaded is not None
    assert loaded[0] == loaded[1]["recipe"]["steps"], "the run is finished"
    return loaded[1]


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Each file's content and time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def assert_bitwise_equal(first: Any, second: Any, where: str = "state") -> None:
    assert type(first) is type(second), where
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            assert_bitwise_equal(first[key], second[key], f"{where}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_bitwise_equal(one, other, f"{where}[{index}]")
    else:
        assert first == second, where


def assert_the_same_run(folder: Path, reference_folder: Path) -> None:
    assert logged(folder) == logged(reference_folder)
    assert read_log(folder / "run.jsonl") == (*read_log(folder / "run.jsonl")[:2], 0), "no line was cut off"
    state = state_of(folder)
    tensors = [one for moments in state["optimizer"]["state"].values() for one in moments.values()]
    assert sum(tensor.count_nonzero().item() for tensor in tensors) > 1000, "there is a state to compare"
    assert_bitwise_equal(state, state_of(reference_folder))
    assert [one.step for one in checkpoints(folder / "checkpoints")] == [STEPS, STEPS - CHECKPOINT_EVERY]


# Kill


def train_on_one_thread(recipe: GPTRecipe, folder: Path) -> None:
    one_cpu_thread()
    train(recipe, folder)


def steps_logged(path: Path) -> int:
    return path.read_bytes().count(b'{"kind": "step"')


def kill_while_training(recipe: GPTRecipe, folder: Path, step: int, delay: float) -> int:
    """Train in a process and kill -9 it `delay` after it logged `step`; how many logged steps no checkpoint holds."""
    process = FORKED.Process(target=train_on_one_thread, args=(recipe, folder))
    log = folder / "run.jsonl"
    # A run that goes on starts with a new file, so that an old one does not count.
    old_file = log.stat().st_ino if log.exists() else None
    process.start()
    deadline = time.monotonic() + 60
    while not log.exists() or log.stat().st_ino == old_file or steps_logged(log) < step:
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it had finished before it was killed"
    return steps_logged(log) - checkpoints(folder / "checkpoints")[0].step


@pytest.mark.parametrize("optimizer", COMPARED)
def test_a_run_killed_at_random_moments_ends_bitwise_like_one_that_was_not(
    tmp_path: Path, reference: Reference, optimizer: str
) -> None:
    recipe, uninterrupted = reference(optimizer)
    moments = random.Random(optimizer)
    steps = [35 * number + moments.randrange(20) for number in range(1, KILLS + 1)]
    lost = [kill_while_training(recipe, tmp_path, step, moments.uniform(0, 0.01)) for step in steps]
    assert sum(lost) > 0, "no kill fell between two checkpoints, so nothing was tested"
    train(recipe, tmp_path)
    assert_the_same_run(tmp_path, uninterrupted)


def test_a_run_resumes_from_every_checkpoint_as_if_it_had_not_stopped(tmp_path: Path, reference: Reference) -> None:
    """Also at steps where an evaluation, or nothing else, happens."""
    kept = replace(
        reference("scionc")[0], steps=40, warmup_steps=5, checkpoint_every=1, keep_checkpoints=40, evaluate_every=7
    )
    train(kept, tmp_path / "whole")
    for step in (1, 4, 5, 7, 20, 39):
        folder = tmp_path / f"{step}"
        shutil.copytree(tmp_path / "whole", folder)
        for checkpoint in checkpoints(folder / "checkpoints"):
            if checkpoint.step > step:
                checkpoint.path.unlink()
        train(kept, folder)
        assert logged(folder) == logged(tmp_path / "whole")
        assert_bitwise_equal(state_of(folder), state_of(tmp_path / "whole"))


# Broken files


def break_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_broken_newest_checkpoint_falls_back_to_the_older(tmp_path: Path, reference: Reference) -> None:
    recipe = finished_copy(reference, tmp_path)
    newest = checkpoints(tmp_path / "checkpoints")[0].path
    break_file(newest)
    with pytest.warns(UserWarning, match=rf"Skipped .*{newest.name}: its content does not match"):
        train(recipe, tmp_path)
    assert_the_same_run(tmp_path, reference("scionc")[1])


def test_a_log_cut_off_in_a_line_is_mended(tmp_path: Path, reference: Reference) -> None:
    recipe = finished_copy(reference, tmp_path)
    checkpoints(tmp_path / "checkpoints")[0].path.unlink()
    log = tmp_path / "run.jsonl"
    log.write_bytes(log.read_bytes()[:-17])
    train(recipe, tmp_path)
    assert_the_same_run(tmp_path, reference("scionc")[1])


# Finished, changed and restarted runs


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, reference: Reference) -> None:
    recipe = finished_copy(reference, tmp_path)
    before = content_of(tmp_path)
    train(recipe, tmp_path)
    assert content_of(tmp_path) == before


def test_a_changed_recipe_is_refused_and_the_folder_left_as_it_is(tmp_path: Path, reference: Reference) -> None:
    recipe = finished_copy(reference, tmp_path)
    before = content_of(tmp_path)
    changed = replace(recipe, lr=0.5, steps=STEPS + 1)
    message = rf"{tmp_path.name} has a run of another recipe \(steps: {STEPS}, now {STEPS + 1}; lr: 0\.03, now 0\.5\)"
    with pytest.raises(
        RecipeChangedError, match=rf"{message}\. Start again from the beginning \(--restart\), or choose another folder"
    ):
        train(changed, tmp_path)
    assert content_of(tmp_path) == before


def test_restart_begins_anew(tmp_path: Path, reference: Reference) -> None:
    recipe = finished_copy(reference, tmp_path)
    for changed in (replace(recipe, seed=1, steps=20), replace(recipe, seed=1, steps=20)):
        train(changed, tmp_path, restart=True)
        assert read_log(tmp_path / "run.jsonl").configuration["seed"] == 1
        assert [record["step"] for record in records_of(tmp_path) if record["kind"] == "step"] == list(range(1, 21))
        assert [one.step for one in checkpoints(tmp_path / "checkpoints")] == [20]


@pytest.mark.parametrize("given", [{"data": "absent"}, {"heads": 3}, {"lr": 0.0}])
def test_a_restart_that_cannot_start_spares_the_earlier_run(
    tmp_path: Path, reference: Reference, given: dict[str, Any]
) -> None:
    recipe = finished_copy(reference, tmp_path)
    before = content_of(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)):
        train(replace(recipe, **given), tmp_path, restart=True)
    assert content_of(tmp_path) == before
