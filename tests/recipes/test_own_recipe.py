"""A recipe of a user's own, written against `Recipe` and `recipe_for` alone: it trains, resumes and is reported."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steadydecay.recipes.checkpoint import checkpoints
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.recipe import Batch, Recipe
from steadydecay.recipes.train import train
from steadydecay.report.runs import load_run
from steadydecay.report.summary import summary_of

pytestmark = pytest.mark.usefixtures("one_cpu_thread")


class SpotFinder(nn.Module):
    """In which quarter of an image is the bright spot? No layer has the role "hidden"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.head = nn.Linear(4 * channels, 4)

    def forward(self, images: Tensor, quarters: Tensor) -> Tensor:
        pooled = F.avg_pool2d(self.convolution(images).relu(), 4)
        return F.cross_entropy(self.head(pooled.flatten(1)), quarters)


@dataclass(frozen=True, kw_only=True)
class SpotRecipe(Recipe):
    """Convolutions on noisy images of 8 × 8 with a bright spot."""

    SIZES: ClassVar[dict[str, Any]] = {"tiny": {"channels": 8, "batch_size": 16, "steps": 60}}
    TUNED: ClassVar[dict[str, Any]] = {
        "tiny": {
            "adam": {"lr": 3e-2, "decay_per_step": 1e-3},
            "scion": {"lr": 0.1, "output_lr": 1.0, "decay_per_step": 0.02},
        }
    }
    COUNTS = ("channels",)

    channels: int

    def load_data(self) -> Batch:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(600, 1, 8, 8, generator=generator)
        rows, columns = torch.randint(8, (2, 600), generator=generator)
        images[torch.arange(600), 0, rows, columns] += 6
        return images, 2 * (rows // 4) + columns // 4

    def build_model(self, data: Batch) -> nn.Module:
        return SpotFinder(self.channels)

    def train_batch(self, data: Batch, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        generator = torch.Generator().manual_seed(self.seed * self.steps + step)
        whole = torch.randint(500, (self.batch_size,), generator=generator)
        chosen = whole.chunk(self.accumulate)[micro_step].chunk(world_size)[rank]
        return tuple(part[chosen] for part in data)

    def validation_batches(self, data: Batch) -> Iterator[Batch]:
        yield tuple(part[500:] for part in data)


@pytest.mark.parametrize("optimizer", ["adamw", "scionc"])
def test_it_learns_and_its_run_is_read_like_any_other(tmp_path: Path, optimizer: str) -> None:
    train(recipe_for(SpotRecipe, "tiny", optimizer, {"precision": "float32"}), tmp_path)
    run = load_run(tmp_path / "run.jsonl", "spots")
    assert run.validation_loss.last < 0.8 * math.log(4)
    assert run.main_role == "conv" and len(run.of_role("weight_norm", "conv")) == 60
    summary = summary_of(run)
    assert summary.optimizer == optimizer and summary.hidden_norm_final == run.of_role("weight_norm", "conv").last
    assert set(run.roles()) == {"conv", "vector", "output"}


def test_it_resumes_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    recipe = recipe_for(SpotRecipe, "tiny", "scionc", {"steps": 20, "precision": "float32", "accumulate": 2})
    train(recipe, tmp_path)
    before = load_run(tmp_path / "run.jsonl", "spots").loss
    checkpoints(tmp_path / "checkpoints")[0].path.unlink()
    train(recipe, tmp_path)
    after = load_run(tmp_path / "run.jsonl", "spots").loss
    assert after.steps.tolist() == list(range(1, 21)) and after.values.tolist() == before.values.tolist()


def test_what_is_not_tuned_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"^lr is missing: SpotRecipe has no tuned value for 'lion' at size 'tiny'"):
        recipe_for(SpotRecipe, "tiny", "lion", {})
    with pytest.raises(ValueError, match=r"^decay_per_step is missing"):
        recipe_for(SpotRecipe, "tiny", "lion", {"lr": 1e-3})
    given = {"lr": 1e-3, "decay_per_step": 1e-3}
    recipe = recipe_for(SpotRecipe, "tiny", "lion", given)
    assert (recipe.output_lr, recipe.momentum, recipe.clip, recipe.warmup_steps) == (1e-3, 0.9, None, 3)


def test_its_own_counts_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^channels is 0; it must be in \[1, inf\)"):
        recipe_for(SpotRecipe, "tiny", "adamw", {"channels": 0})
    with pytest.raises(ValueError, match=r"^channels is 8\.5; it must be a whole number of at least 1"):
        recipe_for(SpotRecipe, "tiny", "adamw", {"channels": 8.5})


def test_a_size_that_says_too_little_asks_for_it() -> None:
    class Sparse(SpotRecipe):
        SIZES: ClassVar[dict[str, Any]] = {"tiny": {"channels": 8, "batch_size": 16}}
        TUNED: ClassVar[dict[str, Any]] = {}

    with pytest.raises(ValueError, match=r"^steps is missing: Sparse has no tuned value"):
        recipe_for(Sparse, "tiny", "adamw", {})
    given = {"steps": 10, "lr": 1e-3, "decay_per_step": 0.0}
    assert recipe_for(Sparse, "tiny", "adamw", given).evaluate_every == 1


def test_a_recipe_without_a_validation_batch_is_refused(tmp_path: Path) -> None:
    class Unvalidated(SpotRecipe):
        def validation_batches(self, data: Batch) -> Iterator[Batch]:
            return iter(())

    with pytest.raises(ValueError, match=r"^Unvalidated\.validation_batches yields no example"):
        train(recipe_for(Unvalidated, "tiny", "adamw", {"steps": 5}), str(tmp_path))


def test_a_recipe_without_its_four_methods_cannot_be() -> None:
    class Bare(Recipe):
        SIZES = SpotRecipe.SIZES
        TUNED = SpotRecipe.TUNED

    with pytest.raises(TypeError, match=r"abstract.*build_model.*load_data.*train_batch.*validation_batches"):
        recipe_for(Bare, "tiny", "adamw", {"channels": 8})


def test_it_is_short() -> None:
    assert sum(len(inspect.getsource(one).splitlines()) for one in (SpotFinder, SpotRecipe)) < 60
