"""The comparison: exact definitions of its summary, and the claim of arXiv 2512.08217 on a small real run."""

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from steadydecay.experiments.compare import compare, run_folder, summarize
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.train import RecipeChangedError
from steadydecay.report.summary import RunSummary
from steadydecay.run_log.folder_lock import FolderInUseError, locked
from steadydecay.run_log.reader import read_log
from steadydecay.run_log.writer import RunLog

FIELDS = ["optimizer", "seed", "steps", "val_loss", "hidden_norm_max", "hidden_norm_final"]
FIELDS += ["grad_norm_mid", "grad_norm_final", "seconds_per_step", "item", "items_per_second"]


pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def tiny(text: Path, optimizer: str, **given: Any) -> GPTRecipe:
    small = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "evaluation_batches": 2}
    return gpt_recipe("mini", optimizer, {"data": str(text), "precision": "float32", "steps": 12, **small, **given})


# The summary of a log


def write_run(
    folder: Path, steps: int, weight_norm: Callable[[int], float], gradient_norm: Callable[[int], float], until: int = 0
) -> Path:
    """A log in which other roles, kinds and steps hold numbers that no summary may contain."""
    configuration = {"optimizer": "scion", "seed": 7, "steps": steps, "lr": 0.5}
    with RunLog.open(folder / "run.jsonl", configuration=configuration, resume_step=None) as log:
        for step in range(1, (until or steps) + 1):
            weights = {"output": 1e9, "hidden": weight_norm(step)}
            gradients = {"hidden": gradient_norm(step), "output": 1e9}
            # An odd one among 3: the median is not the mean.
            seconds = 64.0 if step % 5 == 0 else 0.25
            log.write("step", step=step, loss=1e9, seconds=seconds, weight_norm=weights, gradient_norm=gradients)
            if step % (steps // 4) == 0:
                log.write("validation", step=step, loss=step / 8)
    return folder


def test_the_summary_has_the_issue_s_definitions(tmp_path: Path) -> None:
    # Up to step 20 of 40 the norm is larger; after it the largest is that of step 21.
    def weight_norm(step: int) -> float:
        return 100.0 - step

    # The middle is (18, 22], the end (38, 40].
    gradient_norms = {18: 2.0**20, 19: 1.0, 20: 2.0, 21: 4.0, 22: 9.0, 23: 2.0**20, 38: 2.0**20, 39: 3.0, 40: 8.0}
    folder = write_run(tmp_path, 40, weight_norm, lambda step: gradient_norms.get(step, 512.0))
    assert summarize(folder) == RunSummary(
        optimizer="scion",
        seed=7,
        steps=40,
        val_loss=5.0,
        hidden_norm_max=79.0,
        hidden_norm_final=60.0,
        grad_norm_mid=4.0,
        grad_norm_final=5.5,
        seconds_per_step=0.25,
    )


def test_the_largest_norm_may_be_the_last(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path, 40, float, lambda step: 1.0))
    assert (summary.hidden_norm_max, summary.hidden_norm_final) == (40.0, 40.0)


@pytest.mark.parametrize("steps", [4, 5, 7])
def test_in_a_short_run_the_last_step_stands_for_an_empty_share(tmp_path: Path, steps: int) -> None:
    summary = summarize(write_run(tmp_path, steps, float, lambda step: 2.0**step))
    assert summary.grad_norm_final == 2.0**steps
    assert summary.grad_norm_mid == (4.0 if steps == 4 else 2.0**steps)


def test_a_run_cut_short_is_summed_up_as_far_as_it_went(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 40, lambda step: 100.0 - step, lambda step: float(step), until=15)
    summary = summarize(folder)
    assert (summary.steps, summary.val_loss, summary.hidden_norm_final) == (40, 10 / 8, 85.0)
    assert summary.hidden_norm_max == 85.0


def test_a_run_without_an_evaluation_is_an_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 40, float, float, until=9)
    with pytest.raises(ValueError, match=r"run\.jsonl has 9 steps and 0 validations, but needs some of both"):
        summarize(folder)


# Runs


def test_each_recipe_has_a_folder_and_a_line_in_the_summary(tmp_path: Path, text: Path) -> None:
    recipes = [tiny(text, name, seed=seed) for name in ("adamw", "scionc") for seed in (0, 5)]
    summaries = compare([*recipes, recipes[0]], tmp_path)
    folders = [f"{name}-seed{seed}" for name in ("adamw", "scionc") for seed in (0, 5)]
    assert [run_folder(tmp_path, recipe).name for recipe in recipes] == folders
    assert {path.name for path in tmp_path.iterdir()} == {*folders, "summary.json"}
    content = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert list(content) == ["runs"]
    assert [list(run) for run in content["runs"]] == [FIELDS] * 4, "a recipe given twice is one run"
    assert [RunSummary(**run) for run in content["runs"]] == summaries
    assert [(run["optimizer"], run["seed"]) for run in content["runs"]] == [(r.optimizer, r.seed) for r in recipes]
    for summary, recipe in zip(summaries, recipes, strict=True):
        records = read_log(run_folder(tmp_path, recipe) / "run.jsonl").records
        (*_, last) = (record for record in records if record["kind"] == "step")
        (*_, validation) = (record["loss"] for record in records if record["kind"] == "validation")
        assert (summary.steps, summary.val_loss) == (12, validation)
        assert summary.hidden_norm_final == last["weight_norm"]["hidden"] <= summary.hidden_norm_max
        seconds = [record["seconds"] for record in records if record["kind"] == "step"]
        assert summary.seconds_per_step == statistics.median(seconds)


def test_finished_runs_are_not_trained_again_and_new_ones_join_them(tmp_path: Path, text: Path) -> None:
    scion, scionc = (tiny(text, name) for name in ("scion", "scionc"))
    (first,) = compare([scion], tmp_path)
    log = run_folder(tmp_path, scion) / "run.jsonl"
    before = (log.read_bytes(), log.stat().st_mtime_ns)
    both = compare([scion, scionc], tmp_path)
    assert (log.read_bytes(), log.stat().st_mtime_ns) == before
    assert both[0] == first
    content = json.loads((tmp_path / "summary.json").read_text())
    assert [run["optimizer"] for run in content["runs"]] == ["scion", "scionc"]


def test_another_recipe_is_refused_and_restart_takes_it(tmp_path: Path, text: Path) -> None:
    scion = tiny(text, "scion")
    compare([scion], tmp_path)
    longer = replace(scion, steps=13)
    summary = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(RecipeChangedError, match="steps: 12, now 13"):
        compare([longer], tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == summary
    assert compare([longer], tmp_path, restart=True)[0].steps == 13


def test_another_comparison_in_the_folder_is_refused_between_its_runs_as_well(tmp_path: Path, text: Path) -> None:
    """It could begin a run anew that the first one has finished and will sum up."""
    scion = tiny(text, "scion")
    compare([scion], tmp_path)
    before = (tmp_path / "summary.json").read_bytes()
    for restart in (False, True):
        with locked(tmp_path), pytest.raises(FolderInUseError, match=f"{tmp_path.name} is in use by process"):
            compare([scion], tmp_path, restart=restart)
    assert (tmp_path / "summary.json").read_bytes() == before
    assert compare([scion], tmp_path)[0].steps == 12
    assert {path.name for path in tmp_path.iterdir()} == {"scion-seed0", "summary.json"}


def test_a_comparison_that_cannot_start_leaves_no_folder(tmp_path: Path, text: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compare([tiny(text, "scion", data="absent")], tmp_path / "made" / "here")
    assert list(tmp_path.iterdir()) == []


# The claim


@pytest.fixture(scope="module")
def claim(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunSummary]:
    """Scion and ScionC for five times the memory of their decay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fast = {"layers": 2, "length": 32, "steps": 300, "decay_per_step": 0.06}
    summaries = compare([tiny(text, name, **fast) for name in ("scion", "scionc")], tmp_path_factory.mktemp("claim"))
    torch.set_num_threads(threads)
    return {summary.optimizer: summary for summary in summaries}


def test_the_weight_norm_falls_under_scion_and_stays_under_scionc(claim: dict[str, RunSummary]) -> None:
    share = {name: summary.hidden_norm_final / summary.hidden_norm_max for name, summary in claim.items()}
    assert share["scion"] <= 0.82
    assert share["scionc"] >= 0.95


def test_the_gradient_norm_rises_less_under_scionc(claim: dict[str, RunSummary]) -> None:
    rise = {name: summary.grad_norm_final / summary.grad_norm_mid for name, summary in claim.items()}
    assert rise["scionc"] < 0.85 * rise["scion"]


def test_both_learn(claim: dict[str, RunSummary]) -> None:
    for summary in claim.values():
        assert summary.val_loss < 2.6, "ln 256 is 5.5, the entropy of single bytes 3.3"
