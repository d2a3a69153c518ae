"""A run's log: a real one, one with measured updates, and logs that are none."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.trained_run import kinds_of_run, read_run
from steadydecay.known_optimizers.table import SCION
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.train import train
from steadydecay.run_log.writer import RunLog

TINY = {"layers": 2, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "evaluation_batches": 2}


def recipe(text: Path, **given: Any) -> GPTRecipe:
    return gpt_recipe("mini", "scionc", TINY | {"data": str(text), "steps": 30, "precision": "float32"} | given)


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "scionc-seed3"
    train(recipe(text, seed=3, layers_every=10), folder)
    return folder


def write_log(folder: Path, configuration: dict[str, Any], *records: dict[str, Any]) -> Path:
    with RunLog.open(folder / "run.jsonl", configuration=configuration, resume_step=None) as log:
        for record in records:
            log.write(**record)
    return folder


def kind(*names: str) -> LayerKind:
    return LayerKind(names, (2, 2), len(names), {"lr": 0.1}, SCION, 0.0)


def test_a_real_run_gives_its_recipe_and_its_norms(trained: Path, text: Path) -> None:
    run = read_run(trained)
    assert (run.name, run.recipe) == ("scionc-seed3", recipe(text, seed=3, layers_every=10))
    assert set(run.weight_norms["blocks.1.mlp.up.weight"]) >= {10, 20, 30}
    (checkpoint,) = (trained / "checkpoints").glob("step-000000030-*.pt")
    weights = torch.load(checkpoint, weights_only=True)["model"]
    for name in ("embedding.weight", "blocks.1.attention.qkv", "blocks.0.mlp.down.weight"):
        assert run.weight_norms[name][30] == pytest.approx(weights[name].norm().item(), rel=1e-5)


def test_the_kinds_of_a_run_start_as_its_seed_made_them(trained: Path, text: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    kinds = {kind.title: kind for kind in kinds_of_run(read_run(trained))}
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    model = recipe(text).build_model(recipe(text).load_data())
    qkv = [model.get_parameter(f"blocks.{layer}.attention.qkv").square().sum().item() for layer in (0, 1)]
    found = kinds["blocks.*.attention.qkv"]
    assert found.initial_norm_sq == pytest.approx(sum(qkv) / 2, rel=1e-5)
    assert (found.count, found.shape, found.own_rule) == (2, (3, 32, 32), "corrected")
    assert kinds["blocks.*.mlp.down.weight"].initial_norm_sq == 0
    assert kinds["embedding.weight"].own_rule == "constant"
    assert found.settings["lr"] == recipe(text).lr


def test_the_folder_of_a_compare_with_one_run_is_that_run(trained: Path) -> None:
    assert read_run(trained.parent).recipe == read_run(trained).recipe


def test_measures_of_a_kind_are_the_root_of_the_mean_square_and_interpolated(text: Path, tmp_path: Path) -> None:
    layers = [{"a": 3.0, "b": 4.0}, {"a": 6.0, "b": 8.0}, {"a": 1.0}]
    records = [{"kind": "step", "step": 10 * (i + 1), "layers": one} for i, one in enumerate(layers)]
    run = read_run(write_log(tmp_path, dataclasses.asdict(recipe(text)), *records))
    measured = run.weight_norm(kind("a", "b"))
    assert measured is not None
    assert measured.steps.tolist() == [10, 20]
    np.testing.assert_allclose(measured.at([0, 10, 15, 20, 99]), np.sqrt(12.5) * np.array([1, 1, 1.5, 2, 2]))
    assert run.weight_norm(kind("c")) is None
    assert run.update_norm(kind("a"), [1.0]) is None


def test_update_norms_come_without_their_lr(text: Path, tmp_path: Path) -> None:
    measures = [
        {"weight_norm": 5.0, "update_norm": 0.4},
        {"weight_norm": 6.0, "update_norm": 0.1},
        {"weight_norm": 6.0, "update_norm": 0.0},
        {"weight_norm": 7.0, "update_norm": float("nan")},
        {"weight_norm": 7.0, "update_norm": 1.0},
    ]
    records = [{"kind": "watch", "step": i + 1, "layers": {"a": one}} for i, one in enumerate(measures)]
    run = read_run(write_log(tmp_path, dataclasses.asdict(recipe(text)), *records))
    assert run.weight_norms == {"a": {1: 5.0, 2: 6.0, 3: 6.0, 4: 7.0, 5: 7.0}}
    measured = run.update_norm(kind("a"), [1.0, 0.5, 0.25, 0.0])
    assert measured is not None
    assert measured.steps.tolist() == [1, 2, 3]
    np.testing.assert_allclose(measured.values, [4.0, 2.0, 0.0])
    assert run.update_norm(kind("a"), [0.0]) is None


def test_foreign_and_cut_lines_are_passed_over(text: Path, tmp_path: Path) -> None:
    foreign = [
        {"kind": "step", "step": "late", "layers": {"a": 1.0}},
        {"kind": "step", "step": 1, "layers": [1.0]},
        {"kind": "step", "step": 2, "layers": {"a": "wide"}},
        {"kind": "step", "step": 3, "layers": {"a": 2.0}},
    ]
    folder = write_log(tmp_path, dataclasses.asdict(recipe(text)), *foreign)
    with (folder / "run.jsonl").open("a") as log:
        log.write('not json\n{"kind": "step", "step": 4, "lay')
    assert read_run(folder).weight_norms == {"a": {3: 2.0}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "whose log is not that of a steadydecay recipe: it lacks size, optimizer"),
        ("foreign\n", "whose log is not that of a steadydecay recipe"),
        ('{"kind": "configuration", "lr": 1}\n', "whose log is not that of a steadydecay recipe: it lacks size"),
    ],
)
def test_a_foreign_log_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text(content)
    with pytest.raises(ValueError, match=f"folder is {str(tmp_path)!r}, {message}"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "fast"}, ""),
        ({"steps": 0}, "steps is 0"),
        ({"optimizer": "scoin"}, "optimizer is 'scoin'"),
        ({"layers": 10**9}, "layers is 1000000000; it must be at most 2000"),
        ({"width": 10**9}, "width is 1000000000; it must be at most 100000000"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(changes: dict[str, Any], message: str, text: Path, tmp_path: Path) -> None:
    write_log(tmp_path, dataclasses.asdict(recipe(text)) | changes)
    with pytest.raises(ValueError, match=f"folder is .*, whose log has an impossible recipe: {message}"):
        read_run(tmp_path)


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder is '.*absent', which is not a folder; give"):
        read_run(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"folder is .*, which contains no run\.jsonl; give"):
        read_run(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="which is not a folder"):
        read_run(tmp_path / "file")


def test_a_folder_of_several_runs_lists_them(text: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_log(tmp_path / name, dataclasses.asdict(recipe(text)))
    with pytest.raises(ValueError, match=r"which contains 2 runs; give one of them: .*a, .*b$"):
        read_run(tmp_path)


def test_data_that_are_gone_are_named(tmp_path: Path) -> None:
    write_log(tmp_path, dataclasses.asdict(recipe(tmp_path / "gone")))
    with pytest.raises(OSError, match=r"data is '.*gone', which does not exist"):
        kinds_of_run(read_run(tmp_path))


def test_a_run_whose_data_are_gone_is_built_from_what_its_log_says(text: Path, tmp_path: Path) -> None:
    here, away = dataclasses.asdict(recipe(text)), dataclasses.asdict(recipe(tmp_path / "gone"))
    write_log(tmp_path / "here", here)
    write_log(tmp_path / "away", away | {"vocabulary_size": 256})
    assert kinds_of_run(read_run(tmp_path / "away")) == kinds_of_run(read_run(tmp_path / "here"))


def test_a_model_too_large_for_the_machine_is_named(text: Path, tmp_path: Path) -> None:
    write_log(tmp_path, dataclasses.asdict(recipe(text)) | {"width": 10**8, "heads": 1})
    with pytest.raises(ValueError, match="whose model this machine cannot build "):
        kinds_of_run(read_run(tmp_path))


def test_a_log_is_only_read(trained: Path) -> None:
    before = (trained / "run.jsonl").read_bytes()
    kinds_of_run(read_run(trained))
    assert (trained / "run.jsonl").read_bytes() == before
    assert json.loads(before.splitlines()[0])["kind"] == "configuration"
