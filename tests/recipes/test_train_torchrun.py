"""Real processes, of whole models or cut ones, give the run of one process, and resume each other's."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import on_ranks
from steadydecay.cli import main
from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.overrides import parsed_overrides
from steadydecay.recipes.train import train
from steadydecay.run_log.folder_lock import locked
from steadydecay.run_log.reader import read_log

SMALL = "layers=1 width=32 heads=1 length=16 batch_size=8 evaluation_batches=3 precision=float32 seed=3"
OVERRIDES = f"{SMALL} steps=12 checkpoint_every=3 evaluate_every=4 layers_every=3 keep_checkpoints=4".split(" ")


pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def recipe_of(text: Path, optimizer: str, *overrides: str) -> GPTRecipe:
    return gpt_recipe("mini", optimizer, parsed_overrides(GPTRecipe, [*OVERRIDES, *overrides, f"data={text}"]))


def arguments_of(text: Path, out: Path, optimizer: str, *given: str) -> list[str]:
    """Of the command; `given` are overrides and options."""
    options = ["--data", str(text), "--optimizer", optimizer, "--out", str(out)]
    return ["train", "gpt", *OVERRIDES, *given, *options]


def torchrun(launcher: list[str], arguments: list[str]) -> "subprocess.Popen[str]":
    """One that has begun."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", "steadydecay.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shown_by(process: "subprocess.Popen[str]") -> str:
    """What it wrote to standard error until it ended."""
    try:
        shown = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == 0, shown
    return shown


def records_of(folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    return [record for record in read_log(folder / "run.jsonl").records if record["kind"] == kind]


def go_back_to(step: int, folder: Path) -> None:
    """Delete the checkpoints of later steps."""
    found = checkpoints(folder / "checkpoints")
    assert step in [one.step for one in found]
    for one in found:
        if one.step > step:
            one.path.unlink()


def assert_the_same_run(folder: Path, expected_folder: Path) -> None:
    for kind, steps in {"step": list(range(1, 13)), "validation": [4, 8, 12]}.items():
        records, expected = records_of(folder, kind), records_of(expected_folder, kind)
        assert [record["step"] for record in records] == steps
        losses = [record["loss"] for record in expected]
        assert [record["loss"] for record in records] == pytest.approx(losses, rel=2e-5)
    for record, expected in zip(records_of(folder), records_of(expected_folder), strict=True):
        for measure in ("gradient_norm", "weight_norm", "lr", "decay"):
            assert record[measure] == pytest.approx(expected[measure], rel=1e-3)
    for record, expected in zip(records_of(folder, "watch"), records_of(expected_folder, "watch"), strict=True):
        assert record["step"] == expected["step"] and list(record["layers"]) == list(expected["layers"])
        for name, layer in expected["layers"].items():
            for measure in ("weight_norm", "update_norm", "gradient_norm", "momentum_norm", "spectral_norm"):
                assert record["layers"][name].get(measure) == pytest.approx(layer.get(measure), rel=1e-2), (
                    name,
                    measure,
                )
    loaded, expected_state = (load_latest(one / "checkpoints") for one in (folder, expected_folder))
    assert loaded is not None and expected_state is not None
    assert loaded[0] == expected_state[0] == 12
    for name, weight in expected_state[1]["model"].items():
        # By the norm: a polar factor makes much of a rounding in one direction, and each CPU rounds in its own.
        assert torch.linalg.vector_norm(loaded[1]["model"][name] - weight) < 1e-3 * weight.norm(), name


def test_a_run_moves_from_two_whole_models_to_four_parts_of_one_and_to_a_single_process(
    tmp_path: Path, text: Path
) -> None:
    """With accumulation: gradients are exchanged in the last backward pass of a step alone."""
    recipe = recipe_of(text, "scionc", "accumulate=2")
    train(recipe, tmp_path / "one")
    run = tmp_path / "moved"
    arguments = arguments_of(text, run, "scionc", "accumulate=2")
    shown = on_ranks(2, main, arguments)
    assert shown.count("scionc seed 3  step 12/12") == 1, "one of the ranks reports"
    kinds = [line.split('"')[3] for line in (run / "run.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds.count("configuration")) == ("configuration", 1)
    configuration = read_log(run / "run.jsonl").configuration
    assert (configuration["world_size"], configuration["strategy"]) == (2, "ddp")
    assert_the_same_run(run, tmp_path / "one")
    go_back_to(3, run)
    shown = on_ranks(4, main, [*arguments, "--strategy", "fsdp"])
    assert "step 4/12" in shown and "step 3/12" not in shown
    assert_the_same_run(run, tmp_path / "one")
    go_back_to(6, run)
    train(recipe, run)
    assert_the_same_run(run, tmp_path / "one")


def test_two_nodes_go_on_with_the_run_of_one_process(tmp_path: Path, text: Path) -> None:
    """Each with a torchrun and a process of its own, and a part of the model; gradients are clipped."""
    train(recipe_of(text, "adamw"), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    go_back_to(6, tmp_path / "two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    launcher = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "test"]
    arguments = arguments_of(text, tmp_path / "two", "adamw", "--strategy", "fsdp")
    nodes = [torchrun([*launcher, "--rdzv-endpoint", endpoint], arguments) for _ in range(2)]
    shown = sorted((shown_by(node) for node in nodes), key=len)
    assert "step 7/12" in shown[1] and "step 6/12" not in shown[1]
    assert "step" not in shown[0], "one of the ranks reports"
    one, two = (records_of(tmp_path / name) for name in ("one", "two"))
    assert two[:6] == one[:6]
    assert two[6:] != one[6:]
    assert any(sum(record["gradient_norm"].values()) > 1 for record in two[6:]), "there is something to clip"
    assert_the_same_run(tmp_path / "two", tmp_path / "one")


def test_two_processes_say_why_they_are_refused_and_none_waits_for_the_other(tmp_path: Path, text: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with locked(run):
        shown = on_ranks(2, main, arguments_of(text, run, "adamw"), code=2)
    assert shown.count(f"steadydecay: {run} is in use by process {os.getpid()} on ") == 2, "each rank says it"
    assert "Traceback" not in shown
    assert list(run.iterdir()) == []
