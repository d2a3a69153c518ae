"""The ViT recipe: its sizes, the paper's values, what it derives, and its batches."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steadydecay.groups.prediction import applied_decay, stepped_by
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.recipe import require_legal
from steadydecay.recipes.vit.load_images import AUGMENTATIONS
from steadydecay.recipes.vit.model import ViT
from steadydecay.recipes.vit.recipe import SIZES, small_patch, vit_recipe
from steadydecay.run_log.record import json_line


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds_for_every_optimizer(size: str, optimizer: str) -> None:
    recipe = vit_recipe(size, optimizer, {})
    require_legal(recipe)
    json_line(asdict(recipe))
    assert recipe.augmentation in AUGMENTATIONS
    with torch.device("meta"):
        shape: Any = {"layers": recipe.layers, "heads": recipe.heads, "width": recipe.width, "patch": recipe.patch or 4}
        model = ViT((3, 32, 32), 10, norm=recipe.norm, activation=recipe.activation, **shape)
        built = OPTIMIZERS[optimizer](model, recipe)
    assert {group["role"] for group in built.param_groups} == {"hidden", "output", "vector"}
    for group in built.param_groups:
        is_decayed = group["role"] != "vector" or optimizer.startswith("scion")
        expected = recipe.decay_per_step if is_decayed else 0.0
        assert applied_decay(group, stepped_by(built, group)) == pytest.approx(expected)


def test_s16_has_the_paper_s_values() -> None:
    scionc, adamw = vit_recipe("s16", "scionc", {}), vit_recipe("s16", "adamw", {})
    assert (scionc.layers, scionc.heads, scionc.width, scionc.patch, scionc.image_size) == (12, 6, 384, 16, 224)
    assert scionc.batch_size == 1024 and scionc.steps == round(90 * 1_281_167 / 1024)
    assert (scionc.lr, scionc.output_lr, scionc.momentum, scionc.warmup_steps, scionc.clip) == (0.01, 0.2, 0.9, 0, None)
    assert (scionc.norm, scionc.activation) == ("rms", "scaled_gelu")
    assert (adamw.norm, adamw.activation) == ("layer", "gelu")
    assert (adamw.lr, adamw.decay_per_step, adamw.warmup_steps, adamw.clip) == (1e-3, 1e-4, 10_000, 1.0)
    # 9.5·γ/λ at λ = 0.08, where the paper's cosine of S begins.
    cosine = vit_recipe("s16", "scionc_cosine", {})
    with torch.device("meta"):
        model = ViT((3, 224, 224), 1000, patch=16, layers=1, heads=1, width=8)
        groups = OPTIMIZERS["scionc_cosine"](model, cosine).param_groups
    steady = [group["steady_norm_sq"] for group in groups if group["role"] != "output"]
    assert steady == pytest.approx([1.1875] * len(steady)) and steady


def test_a_short_run_of_s16_warms_up_in_a_third_of_it() -> None:
    assert vit_recipe("s16", "adamw", {"steps": 20}).warmup_steps == 6
    assert vit_recipe("s16", "scionc", {"steps": 20}).warmup_steps == 0
    assert vit_recipe("digits", "adamw", {"steps": 100}).warmup_steps == 5


@pytest.mark.parametrize("height", [2, 7, 8, 13, 28, 29, 32, 64])
@pytest.mark.parametrize("width", [2, 8, 31, 64])
def test_the_patch_is_the_smallest_with_at_most_64(height: int, width: int) -> None:
    def patches(side: int) -> int:
        return -(-height // side) * -(-width // side)

    side = small_patch(height, width)
    assert side >= 2 and patches(side) <= 64
    assert side == 2 or patches(side - 1) > 64


def test_batches_of_ranks_and_micro_steps_are_the_batch_of_the_step(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(90) % 3)
    given = {"data": str(tmp_path / "a.npz"), "batch_size": 12, "augmentation": "moves"}
    whole = vit_recipe("digits", "scionc", given)
    parts = vit_recipe("digits", "scionc", given | {"accumulate": 2})
    data = whole.load_data()
    for step in (0, 7, 100):
        expected = whole.train_batch(data, step, 0, 0, 1)
        shares = [parts.train_batch(data, step, micro, rank, 3) for micro in (0, 1) for rank in (0, 1, 2)]
        for part in (0, 1):
            assert torch.equal(torch.cat([share[part] for share in shares]), expected[part])
    moved = whole.augmented(data, expected, 100, 0, 0, 1)
    assert torch.equal(moved[0], whole.augmented(data, expected, 100, 0, 0, 1)[0])
    assert not torch.equal(moved[0], whole.augmented(data, expected, 101, 0, 0, 1)[0])


def test_the_first_record_says_what_the_data_decided() -> None:
    recipe = vit_recipe("digits", "scionc", {})
    decided = recipe.decided_by(recipe.load_data())
    assert decided == {
        "images": "1 × 8 × 8",
        "patch_used": 2,
        "classes_found": 10,
        "train_images": 1443,
        "validation_images": 354,
        "augmentation_used": ("turned up to 8 degrees, zoomed up to 8%, shifted up to 6.2% of each side, not mirrored"),
    }


def test_blank_images_stand_where_those_of_a_log_are_gone() -> None:
    recipe = vit_recipe("digits", "scionc", {"layers": 1, "width": 16, "heads": 1, "batch_size": 4})
    decided = {"images": "3 × 6 × 9", "classes_found": 7, "train_images": 90, "validation_images": 5}
    blank = recipe.data_like(decided)
    assert blank is not None and recipe.epoch_examples(blank) == 90
    images, labels = recipe.train_batch(blank, 50, 0, 1, 2)
    assert (images.shape, labels.tolist()) == ((2, 3, 6, 9), [0, 0])
    assert [len(batch[1]) for batch in recipe.validation_batches(blank)] == [5]
    assert recipe.build_model(blank)(images, labels).isfinite()
    told = recipe.decided_by(blank)
    assert {name: told[name] for name in decided} == decided


@pytest.mark.parametrize("images", [None, 3, "", "3 × 6", "3 × 0 × 9", "3 × -6 × 9", "3 × 6 × x", f"3 × 6 × {10**9}"])
def test_a_log_that_does_not_say_how_large_images_are_gives_none(images: object) -> None:
    assert vit_recipe("digits", "scionc", {}).data_like({"images": images, "classes_found": 7}) is None


@pytest.mark.parametrize("classes", [None, "7", 0, 10**9])
def test_a_log_that_does_not_say_how_many_classes_there_are_gives_none(classes: object) -> None:
    assert vit_recipe("digits", "scionc", {}).data_like({"images": "1 × 8 × 8", "classes_found": classes}) is None
