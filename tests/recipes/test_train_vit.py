"""Real runs of the ViT recipe: they learn, resume bit for bit, and are the same on two ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forked import on_ranks
from image_data_sets import write_folder
from steadydecay.cli import main
from steadydecay.experiments.compare import compare
from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.recipes.train import train
from steadydecay.recipes.vit.recipe import ViTRecipe, vit_recipe
from steadydecay.report.runs import load_run
from steadydecay.run_log.reader import read_log

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

TINY = {"layers": 1, "width": 16, "heads": 1, "batch_size": 12, "steps": 8, "precision": "float32"}
TINY |= {"checkpoint_every": 3, "evaluate_every": 4, "layers_every": 2}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.npz` of 240 noisy images in which a bright square stands in one of four corners: not square themselves."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 100, (240, 8, 12), dtype=np.uint8), np.arange(240) % 4
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) : 4 * (label // 2) + 4, 6 * (label % 2) : 6 * (label % 2) + 6] += 120
    path = tmp_path_factory.mktemp("squares") / "squares.npz"
    np.savez(path, images=images, labels=labels)
    return path


def tiny(data: Path, optimizer: str = "scionc", **given: Any) -> ViTRecipe:
    return vit_recipe("digits", optimizer, TINY | {"data": str(data)} | given)


def logged(folder: Path, kind: str, name: str) -> list[Any]:
    return [record[name] for record in read_log(folder / "run.jsonl").records if record["kind"] == kind]


def forgotten_weights(folder: Path) -> dict[str, Tensor]:
    """The model after the last step, whose checkpoint is deleted."""
    found = load_latest(folder / "checkpoints")
    assert found is not None
    checkpoints(folder / "checkpoints")[0].path.unlink()
    return found[1]["model"]


def assert_alike(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_it_learns_and_its_accuracy_is_logged_and_summed_up(squares: Path, tmp_path: Path) -> None:
    recipes = [tiny(squares, name, steps=60, evaluate_every=20, lr=0.02) for name in ("scionc", "scionc_cosine")]
    summaries = compare(recipes, tmp_path)
    for summary in summaries:
        assert summary.top1 is not None and summary.top1 > 0.9 and summary.val_loss < 1.2
        accuracies = logged(tmp_path / f"{summary.optimizer}-seed0", "validation", "top1")
        assert len(accuracies) == 3 and accuracies[-1] == summary.top1
        # A share of the images, whatever the batches of the evaluation.
        validation = read_log(tmp_path / f"{summary.optimizer}-seed0/run.jsonl").configuration["validation_images"]
        assert summary.top1 * validation == pytest.approx(round(summary.top1 * validation), abs=1e-4)
    assert '"top1": ' in (tmp_path / "summary.json").read_text(encoding="utf-8")


def test_s_falls_under_scionc_cosine_and_stays_under_scionc(squares: Path, tmp_path: Path) -> None:
    for name in ("scionc", "scionc_cosine"):
        train(tiny(squares, name), tmp_path / name)
    decays = {name: logged(tmp_path / name, "step", "decay") for name in ("scionc", "scionc_cosine")}
    first, last = ({name: of[place]["hidden"] for name, of in decays.items()} for place in (0, -1))
    assert first["scionc"] == pytest.approx(first["scionc_cosine"])
    assert 2 < last["scionc_cosine"] / last["scionc"] < 4


@pytest.mark.parametrize("optimizer", ["scionc", "scionc_cosine"])
def test_a_run_that_resumes_is_the_run_that_did_not_stop(squares: Path, tmp_path: Path, optimizer: str) -> None:
    recipe = tiny(squares, optimizer, accumulate=2)
    train(recipe, tmp_path)
    losses, accuracies = logged(tmp_path, "step", "loss"), logged(tmp_path, "validation", "top1")
    weights = forgotten_weights(tmp_path)
    train(recipe, tmp_path)
    assert logged(tmp_path, "step", "loss") == losses and len(losses) == 8
    assert logged(tmp_path, "validation", "top1") == accuracies
    assert_alike(forgotten_weights(tmp_path), weights)


def test_a_streamed_run_with_the_paper_s_augmentation_resumes_bit_for_bit(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", ["a", "b", "c"], 12)
    given = {"augmentation": "photographs", "image_size": 16, "patch": 8, "steps": 4, "batch_size": 4}
    recipe = tiny(folder, **given, checkpoint_every=2, evaluate_every=4)
    train(recipe, tmp_path / "run")
    losses = logged(tmp_path / "run", "step", "loss")
    weights = forgotten_weights(tmp_path / "run")
    train(recipe, tmp_path / "run")
    assert logged(tmp_path / "run", "step", "loss") == losses and len(losses) == 4
    assert_alike(forgotten_weights(tmp_path / "run"), weights)
    run = load_run(tmp_path / "run/run.jsonl", "run")
    assert "Mixup" in run.configuration["augmentation_used"] and len(run.accuracy) == 1


def test_two_ranks_train_as_one_process_does_with_whole_models_and_then_with_parts_of_one(
    squares: Path, tmp_path: Path
) -> None:
    """With accumulation and clipped gradients."""
    recipe = tiny(squares, accumulate=2, clip=0.01)
    train(recipe, tmp_path / "one")
    names = ("layers", "width", "heads", "batch_size", "steps", "precision", "checkpoint_every", "evaluate_every")
    overrides = [f"{name}={getattr(recipe, name)}" for name in (*names, "layers_every", "accumulate", "clip")]
    arguments = ["train", "vit", *overrides, "--data", str(squares), "--out", str(tmp_path / "two")]
    on_ranks(2, main, arguments)
    whole = logged(tmp_path / "two", "step", "loss")
    assert min(sum(norms.values()) for norms in logged(tmp_path / "two", "step", "gradient_norm")) > 0.01
    forgotten_weights(tmp_path / "two")
    on_ranks(2, main, [*arguments, "--strategy", "fsdp"])
    assert logged(tmp_path / "two", "step", "loss")[:6] == whole[:6]
    for kind, name in (("step", "loss"), ("validation", "loss"), ("validation", "top1")):
        assert logged(tmp_path / "two", kind, name) == pytest.approx(logged(tmp_path / "one", kind, name), rel=2e-4)


@pytest.mark.parametrize(("shape", "classes"), [((8, 8), 2), ((13, 29, 3), 7), ((64, 64, 3), 3), ((9, 64), 20)])
def test_any_small_images_train(shape: tuple[int, ...], classes: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (120, *shape), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(120) % classes)
    train(tiny(tmp_path / "a.npz", steps=2), tmp_path / "run")
    (accuracy,) = logged(tmp_path / "run", "validation", "top1")
    assert 0 <= accuracy <= 1


def test_bad_data_leaves_an_earlier_run_as_it_was(squares: Path, tmp_path: Path) -> None:
    train(tiny(squares, steps=2), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    np.savez(tmp_path.parent / "bad.npz", images=np.ones((9, 4, 4), dtype=np.uint8), labels=np.arange(9) - 1)
    with pytest.raises(ValueError, match=r"labels of .*bad\.npz contain -1"):
        train(tiny(tmp_path.parent / "bad.npz", steps=2), tmp_path, restart=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
