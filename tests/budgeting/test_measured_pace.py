"""Which measurements are of a recipe, and what they say of its batch."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from steadydecay.budgeting.measured_pace import measured_paces
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.run_log.writer import RunLog

MINI = gpt_recipe("mini", "scionc", {})
PARAMETERS = 622_592


def write_run(folder: Path, recipe: GPTRecipe) -> Path:
    configuration = dataclasses.asdict(recipe) | {"device": "a GPU", "world_size": 2}
    with RunLog.open(folder / "run.jsonl", configuration=configuration, resume_step=None) as log:
        for step, seconds in enumerate((9.0, 0.5, 0.5, 0.7), start=1):
            log.write("step", step=step, loss=1.0, seconds=seconds)
    return folder


def write_result(folder: Path, **changed: Any) -> Path:
    rows = [
        {"optimizer": name, "is_compiled": compiled, "step_times": [whole], "optimizer_times": [own]}
        for name, compiled, whole, own in (
            ("torch AdamW, fused", False, 1.0, 0.1),
            ("ScionC", False, 3.0, 1.0),
            ("ScionC", True, 2.0, 1.0),
        )
    ]
    device = {"type": "cpu", "name": "Some CPU", "threads": 2}
    result = {"model": "mini", "parameters": PARAMETERS, "item": "tokens", "items": 1024, "rows": rows}
    (folder / "end_to_end_mini.json").write_text(json.dumps(result | {"device": device} | changed))
    return folder


def test_the_own_run_comes_first_with_the_median_of_its_steps(tmp_path: Path) -> None:
    # Another seed, learning rate or length of the run takes as long a step.
    folder = write_run(tmp_path / "run", gpt_recipe("mini", "scionc", {"seed": 3, "lr": 0.1, "steps": 50}))
    paces = measured_paces(MINI, PARAMETERS, folder, write_result(tmp_path))
    assert len(paces) == 2
    own = paces[0]
    assert (own.seconds_per_step, own.devices, own.device, own.optimizer_share) == (0.6, 2, "a GPU", None)


@pytest.mark.parametrize("given", [{"layers": 2}, {"batch_size": 8}, {"precision": "float32"}])
def test_a_run_of_another_model_or_batch_says_nothing(given: dict[str, Any], tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", gpt_recipe("mini", "scionc", given))
    assert measured_paces(MINI, PARAMETERS, folder, tmp_path) == []


def test_a_result_is_of_the_family_and_its_model_s_time_grows_with_the_batch(tmp_path: Path) -> None:
    (pace,) = measured_paces(MINI, PARAMETERS, tmp_path / "none", write_result(tmp_path))
    # 2 s of the model for 1,024 tokens, for a batch of 2,048; 1 s of the optimizer.
    assert pace.seconds_per_step == 5 and pace.optimizer_share == pytest.approx(0.2)
    assert pace.device == "Some CPU, 2 threads" and pace.source.endswith("end_to_end_mini.json")
    adamw = gpt_recipe("mini", "adamw", {})
    assert measured_paces(adamw, PARAMETERS, tmp_path, tmp_path)[0].seconds_per_step == pytest.approx(1.9)
    compiled = gpt_recipe("mini", "scionc", {"compile": True})
    assert measured_paces(compiled, PARAMETERS, tmp_path, tmp_path)[0].seconds_per_step == 3
    assert measured_paces(gpt_recipe("mini", "lion", {}), PARAMETERS, tmp_path, tmp_path) == []


@pytest.mark.parametrize("changed", [{"model": "124m"}, {"item": "images"}, {"parameters": 640_000}])
def test_a_result_of_another_model_says_nothing(changed: dict[str, Any], tmp_path: Path) -> None:
    assert measured_paces(MINI, PARAMETERS, tmp_path / "none", write_result(tmp_path, **changed)) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": "mini", "item": "tokens", "parameters": 622592}'])
def test_a_file_that_is_no_result_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "end_to_end_mini.json").write_text(content)
    with pytest.raises(ValueError, match=r"end_to_end_mini\.json is not a result of benchmarks/end_to_end\.py"):
        measured_paces(MINI, PARAMETERS, tmp_path / "none", tmp_path)


def test_a_log_without_the_time_of_a_step_says_nothing(tmp_path: Path) -> None:
    with RunLog.open(tmp_path / "run.jsonl", configuration=dataclasses.asdict(MINI), resume_step=None) as log:
        log.write("step", step=1, loss=1.0)
    assert measured_paces(MINI, PARAMETERS, tmp_path, tmp_path) == []


def test_the_repository_s_own_results_are_read() -> None:
    results = Path(__file__).parents[2] / "benchmarks/results"
    large = gpt_recipe("124m", "scionc", {})
    assert measured_paces(MINI, PARAMETERS, Path("none"), results)
    assert measured_paces(large, 123_568_128, Path("none"), results)
