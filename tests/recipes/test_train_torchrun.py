"""Real processes under torchrun give the run of one process, and resume each other's checkpoints."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from steadydecay.cli import main
from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.overrides import parsed_overrides
from steadydecay.recipes.train import train
from steadydecay.run_log.folder_lock import locked
from steadydecay.run_log.reader import read_log

SMALL = "layers=1 width=32 heads=1 length=16 batch_size=8 evaluation_batches=3 precision=float32 seed=3"
OVERRIDES = f"{SMALL} steps=12 checkpoint_every=6 evaluate_every=4 layers_every=3".split(" ")


pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def recipe_of(text: Path, optimizer: str, *overrides: str) -> GPTRecipe:
    return gpt_recipe("mini", optimizer, parsed_overrides(GPTRecipe, [*OVERRIDES, *overrides, f"data={text}"]))


def arguments_of(text: Path, out: Path, optimizer: str, *overrides: str) -> list[str]:
    options = ["--data", str(text), "--optimizer", optimizer, "--out", str(out)]
    return ["train", "gpt", *OVERRIDES, *overrides, *options]


def train_under_torchrun(arguments: list[str]) -> str:
    """What two processes wrote to standard error."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launcher, "-m", "steadydecay.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def run_rank(arguments: list[str], environment: dict[str, str], errors: Path) -> None:
    os.environ |= environment | {"CUDA_VISIBLE_DEVICES": ""}
    torch.set_num_threads(1)
    with errors.open("w") as sys.stderr:
        main(arguments)


def train_in_two_processes(folder: Path, arguments: list[str], code: int = 0) -> str:
    """The same of two that have torchrun's variables, forked from one that has imported torch once for all tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["steadydecay.recipes.train", "torch._dynamo", "pytest"])
    errors = [folder / f"errors-{rank}" for rank in range(2)]
    processes = [
        context.Process(
            target=run_rank, args=(arguments, shared | {"RANK": rank, "LOCAL_RANK": rank}, errors[int(rank)])
        )
        for rank in ("0", "1")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    shown = "".join(path.read_text() for path in errors)
    assert [process.exitcode for process in processes] == [code] * 2, shown
    return shown


def records_of(folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    return [record for record in read_log(folder / "run.jsonl").records if record["kind"] == kind]


def forget_the_last_checkpoint(folder: Path) -> None:
    newest, older = checkpoints(folder / "checkpoints")
    assert (newest.step, older.step) == (12, 6)
    newest.path.unlink()


def assert_the_same_run(folder: Path, expected_folder: Path) -> None:
    for kind, steps in {"step": list(range(1, 13)), "validation": [4, 8, 12]}.items():
        records, expected = records_of(folder, kind), records_of(expected_folder, kind)
        assert [record["step"] for record in records] == steps
        losses = [record["loss"] for record in expected]
        assert [record["loss"] for record in records] == pytest.approx(losses, rel=2e-5)
    for record, expected in zip(records_of(folder), records_of(expected_folder), strict=True):
        for measure in ("gradient_norm", "weight_norm", "lr", "decay"):
            assert record[measure] == pytest.approx(expected[measure], rel=1e-3)
    loaded, expected_state = (load_latest(one / "checkpoints") for one in (folder, expected_folder))
    assert loaded is not None and expected_state is not None
    assert loaded[0] == expected_state[0] == 12
    for name, weight in expected_state[1]["model"].items():
        # By the norm: a polar factor makes much of a rounding in one direction, and each CPU rounds in its own.
        assert torch.linalg.vector_norm(loaded[1]["model"][name] - weight) < 1e-3 * weight.norm(), name


def test_two_processes_are_one_run_and_one_process_goes_on_with_it(tmp_path: Path, text: Path) -> None:
    """With accumulation: gradients are exchanged in the last backward pass of a step alone."""
    recipe = recipe_of(text, "scionc", "accumulate=2")
    train(recipe, tmp_path / "one")
    shown = train_under_torchrun(arguments_of(text, tmp_path / "two", "scionc", "accumulate=2"))
    assert shown.count("scionc seed 3  step 12/12") == 1, "one of the ranks reports"
    kinds = [line.split('"')[3] for line in (tmp_path / "two" / "run.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds.count("configuration")) == ("configuration", 1)
    assert read_log(tmp_path / "two" / "run.jsonl").configuration["world_size"] == 2
    assert_the_same_run(tmp_path / "two", tmp_path / "one")
    forget_the_last_checkpoint(tmp_path / "two")
    train(recipe, tmp_path / "two")
    assert_the_same_run(tmp_path / "two", tmp_path / "one")


def test_two_processes_go_on_with_the_run_of_one(tmp_path: Path, text: Path) -> None:
    train(recipe_of(text, "adamw"), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    forget_the_last_checkpoint(tmp_path / "two")
    shown = train_in_two_processes(tmp_path, arguments_of(text, tmp_path / "two", "adamw"))
    assert "step 7/12" in shown and "step 6/12" not in shown
    one, two = (records_of(tmp_path / name) for name in ("one", "two"))
    assert two[:6] == one[:6]
    assert two[6:] != one[6:]
    assert_the_same_run(tmp_path / "two", tmp_path / "one")


def test_two_processes_say_why_they_are_refused_and_none_waits_for_the_other(tmp_path: Path, text: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with locked(run):
        shown = train_in_two_processes(tmp_path, arguments_of(text, run, "adamw"), code=2)
    assert shown.count(f"steadydecay: {run} is in use by process {os.getpid()} on ") == 2, "each rank says it"
    assert "Traceback" not in shown
    assert list(run.iterdir()) == []
