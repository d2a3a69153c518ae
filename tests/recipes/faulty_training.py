"""Training in which ranks die, raise or meet a NaN.

Not a test: test_train_elastic.py runs it on ranks and reads what it leaves in the folder `out`.
"""

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from steadydecay.cli import main
from steadydecay.recipes import checkpoint
from steadydecay.recipes.checkpoint import checkpoints
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.train import train

TINY: dict[str, Any] = {"layers": 1, "width": 16, "heads": 1, "length": 8, "batch_size": 4, "evaluation_batches": 1}
TINY |= {"steps": 10, "checkpoint_every": 2, "evaluate_every": 5, "layers_every": 5, "precision": "float32"}


def told_by_torchrun(name: str) -> int:
    return int(os.environ[name])


def at_step(step: int, rank: int, act: Callable[[], None]) -> None:
    """Let a rank act as it reads the batch of a step, when the others are in that step already."""
    read = GPTRecipe.train_batch

    def train_batch(self: GPTRecipe, data: Any, step_done: int, *place: int) -> Any:
        if (step_done + 1, told_by_torchrun("RANK")) == (step, rank):
            act()
        return read(self, data, step_done, *place)

    GPTRecipe.train_batch = train_batch  # pyright: ignore[reportAttributeAccessIssue]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_saved(step: int) -> None:
    write = checkpoint._write_synced

    def write_half(path: Path, state: dict[str, Any]) -> None:
        write(path, state)
        if f"{step:09d}" in path.name:
            os.truncate(path, path.stat().st_size // 2)
            die()

    checkpoint._write_synced = write_half


def break_newest(folder: Path) -> None:
    path = checkpoints(folder / "checkpoints")[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def restarts(out: Path, text: Path) -> None:
    """A run that nothing disturbs, and one that dies in a step, then in a checkpoint, and then ends."""
    recipe = gpt_recipe("mini", "scionc", {"data": str(text), **TINY})
    disturbed, count = out / "disturbed", told_by_torchrun("TORCHELASTIC_RESTART_COUNT")
    if count == 0:
        train(recipe, out / "undisturbed", strategy="fsdp")

        def break_and_die() -> None:
            break_newest(disturbed)
            die()

        at_step(7, 1, break_and_die)
    elif count == 1:
        die_half_saved(8)
    # A run that is started once more goes on, whatever the command says of a run before it.
    train(recipe, disturbed, strategy="fsdp", restart=True)


def stops(out: Path, text: Path) -> None:
    """A NaN in the loss of one rank; then, in another run, an error on it."""
    forward, step, rank = GPT.forward, [0], told_by_torchrun("RANK")

    def nan_at_third(self: GPT, *batch: torch.Tensor) -> torch.Tensor:
        step[0] += 1
        return forward(self, *batch) * (torch.nan if (rank, step[0]) == (1, 3) else 1)

    GPT.forward = nan_at_third  # pyright: ignore[reportAttributeAccessIssue]
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), contextlib.suppress(SystemExit):
        overrides = [f"{name}={value}" for name, value in TINY.items()]
        main(["train", "gpt", *overrides, "--data", str(text), "--optimizer", "adamw", "--out", str(out / "nan")])
    (out / f"nan.{rank}.txt").write_text(shown.getvalue())
    GPT.forward = forward

    def fail() -> None:
        (out / "raised.txt").write_text(str(time.time()))
        raise RuntimeError("of rank 1 alone")

    at_step(3, 1, fail)
    train(gpt_recipe("mini", "adamw", {"data": str(text), **TINY}), out / "raised")
