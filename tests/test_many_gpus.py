"""The examples for many GPUs run as a reader would run them."""

import os
import re
import runpy
import sys
from pathlib import Path

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import steadydecay as sd
from forked import alone, on_ranks

PROGRAM = Path(__file__).parents[1] / "examples/many_gpus/sharded_checkpoint.py"


def shown(ranks: int, strategy: str, folder: Path, *, steps: int = 2, save: str = "sync") -> str:
    given = (run_program, save, strategy, str(folder), str(steps))
    return on_ranks(ranks, *given) if ranks > 1 else alone(*given)


def losses(text: str) -> dict[int, float]:
    """By step."""
    return {int(step): float(loss) for step, loss in re.findall(r"^step (\d+): loss ([\d.]+)$", text, re.M)}


def run_program(save: str, *arguments: str) -> None:
    os.environ["SAVE"] = save
    sys.argv[1:] = arguments
    runpy.run_path(str(PROGRAM), run_name="__main__")


def test_a_folder_of_parts_moves_between_numbers_of_ranks_and_strategies(tmp_path: Path) -> None:
    """Four whole models save their state in a thread, two parts of one go on and save, then one process."""
    moved = shown(4, "ddp", tmp_path / "moved", save="async")
    moved += shown(2, "fsdp", tmp_path / "moved")
    moved += shown(1, "one", tmp_path / "moved")
    whole = shown(1, "one", tmp_path / "one", steps=6)
    # What `sd.watch` has seen moves along: its steps, and the trends that its verdicts are made of.
    watched = re.findall(r"^watched (.*)$", moved, re.M)
    assert [one.split(" ", 1)[0] for one in watched] == ["2", "4", "6"]
    assert watched[-1:] == re.findall(r"^watched (.*)$", whole, re.M)
    found, expected = losses(moved), losses(whole)
    assert list(found) == list(expected) == list(range(1, 7))
    assert len(set(expected.values())) == 6
    for step, loss in expected.items():
        assert abs(found[step] - loss) < 1e-5, step


def test_a_flat_state_dict_as_torchtitan_takes_it_holds_all_that_groups_say() -> None:
    flat = StateDictOptions(flatten_optimizer_state_dict=True)

    def made(lr: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
        return model, sd.ScionC(sd.param_groups(model, "scion", lr=lr, weight_decay=0.1), lr)

    model, optimizer = made(0.02)
    model(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    other, loaded = made(0.5)
    set_optimizer_state_dict(other, loaded, get_optimizer_state_dict(model, optimizer, options=flat), options=flat)
    found, expected = loaded.state_dict(), optimizer.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    for index, state in expected["state"].items():
        assert torch.equal(found["state"][index]["momentum"], state["momentum"])
