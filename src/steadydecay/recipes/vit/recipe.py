"""The ViT recipe. Its size is the only dial, and visible lines derive the rest (arXiv 2512.08217, Sec. 3.2)."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from steadydecay.recipes.derivation import DERIVED, recipe_for
from steadydecay.recipes.epoch_order import rows_of_rank
from steadydecay.recipes.recipe import Batch, Fields, Recipe
from steadydecay.recipes.vit.augmentation import Unchanged, seed_of
from steadydecay.recipes.vit.image_data import BlankImages, ImageData
from steadydecay.recipes.vit.load_images import AUTO, PHOTOGRAPHS, Wishes, load_images
from steadydecay.recipes.vit.model import ViT

# s16: the paper's, 90 epochs of ImageNet-1k. digits: for any small images, tuned on the embedded digits (docs/vit.md).
SIZES: dict[str, dict[str, Any]] = {
    # Matrices this small are slower in bfloat16 on a CPU, even on one with instructions for it.
    "digits": {"layers": 3, "heads": 2, "width": 64, "batch_size": 64, "steps": 1_000}
    | {"augmentation": AUTO, "precision": "float32"},
    "mini": {"layers": 6, "heads": 3, "width": 192, "batch_size": 128, "steps": 10_000, "augmentation": AUTO},
    "s16": {"layers": 12, "heads": 6, "width": 384, "batch_size": 1024, "steps": 112_603}
    | {"augmentation": PHOTOGRAPHS, "image_size": 224, "patch": 16},
}
# By size, then by optimizer family. At s16, Scion's and Adam's are the paper's; the others there are guesses.
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "scion": {"lr": 0.012, "output_lr": 0.2, "decay_per_step": 0.004},
        "adam": {"lr": 2e-3, "decay_per_step": 2e-4},
        "adam_l2": {"lr": 2e-3, "decay_per_step": 2e-6},
        "lion": {"lr": 5e-4, "decay_per_step": 2e-3},
        "sgd": {"lr": 0.3, "decay_per_step": 1e-3},
        "muon": {"lr": 0.02, "output_lr": 3e-3, "decay_per_step": 3e-3},
    },
    "mini": {
        "scion": {"lr": 0.01, "output_lr": 0.2, "decay_per_step": 1e-3},
        "adam": {"lr": 1e-3, "decay_per_step": 1e-4},
        "adam_l2": {"lr": 1e-3, "decay_per_step": 1e-6},
        "lion": {"lr": 2e-4, "decay_per_step": 5e-4},
        "sgd": {"lr": 0.3, "decay_per_step": 2e-4},
        "muon": {"lr": 0.02, "output_lr": 1e-3, "decay_per_step": 1e-3},
    },
    "s16": {
        "scion": {"lr": 0.01, "output_lr": 0.2, "decay_per_step": 0.01 * 0.08},
        "adam": {"lr": 1e-3, "decay_per_step": 1e-4, "norm": "layer", "activation": "gelu"},
        "adam_l2": {"lr": 1e-3, "decay_per_step": 1e-7, "norm": "layer", "activation": "gelu"},
        "lion": {"lr": 1e-4, "decay_per_step": 1e-4},
        "sgd": {"lr": 0.3, "decay_per_step": 3e-5},
        "muon": {"lr": 0.02, "output_lr": 1e-3, "decay_per_step": 2e-4},
    },
}
MEANT_DATA: dict[str, dict[str, Any]] = {
    "s16": {"meant_data": "ImageNet-1k", "images": "3 × 224 × 224", "classes_found": 1_000}
    | {"train_images": 1_281_167, "validation_images": 50_000},
}
# More classes than any data set has today; a log may contain any number.
MOST_CLASSES, MOST_IMAGES = 10**6, 10**12
PAPER_WARMUP_STEPS = 10_000
MOST_PATCHES = 64
EVALUATION_ROWS = 256
# The number of batches that are decoded while the model is trained on the one before them.
BATCHES_AHEAD = 2


def warmup_steps(values: Fields) -> int:
    """Return the paper's warm-up for a long run at s16, or else the share that is usual for the optimizer."""
    usual = DERIVED["warmup_steps"](values)
    return min(PAPER_WARMUP_STEPS, values["steps"] // 3) if values["size"] == "s16" and usual else usual


@final
@dataclass(frozen=True, kw_only=True)
class ViTRecipe(Recipe):
    """A ViT trained on images. It has the fields of `Recipe` and these:

    Attributes:
        data: An `.npz`, a folder of images, or parquet files. None is scikit-learn's digits.
        layers, heads, width: The size of the transformer.
        patch: The side of a patch in pixels. None is the smallest side, from 2 on, with at most 64 patches.
        norm: "layer" or "rms".
        activation: "gelu" or "scaled_gelu" (√2·GELU).
        augmentation: "none", "moves", "moves_and_flips", "photographs" (the paper's), or "auto", which chooses the
            small
            moves that suit the images. The run's first record says what was chosen.
        image_size: The side in pixels of images from files. None is 32. Arrays keep their size.
        classes: The number of classes. None takes it from the labels.
    """

    SIZES = SIZES
    TUNED = TUNED
    ITEM = "images"
    MEANT_DATA = MEANT_DATA
    COUNTS = ("layers", "heads", "width", "patch", "image_size", "classes")
    DERIVED: ClassVar[Mapping[str, Callable[[Fields], Any]]] = {"warmup_steps": warmup_steps}
    COMPARED = ("adamw", "adamc", "scion", "scionc", "scionc_cosine")

    layers: int
    heads: int
    width: int
    patch: int | None = None
    norm: str = "rms"
    activation: str = "scaled_gelu"
    augmentation: str
    image_size: int | None = None
    classes: int | None = None

    def load_data(self) -> ImageData:
        return load_images(self.data, Wishes(self.augmentation, self.image_size, self.classes))

    def build_model(self, data: ImageData) -> nn.Module:
        return ViT(
            data.image,
            data.classes,
            patch=self.patch or small_patch(*data.image[1:]),
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            norm=self.norm,
            activation=self.activation,
            mean=data.mean,
            std=data.std,
        )

    def train_batch(self, data: ImageData, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        size = self.batch_size // self.accumulate
        rows = rows_of_rank(size, rank, world_size)
        starts = [(step * self.accumulate + micro_step + ahead) * size for ahead in range(1 + BATCHES_AHEAD)]
        wanted = [range(start + rows.start, start + rows.stop) for start in starts]
        return data.train.training_batch(wanted, self.seed)

    def augmented(self, data: ImageData, batch: Batch, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        return data.augmentation(batch, seed_of(self.seed, step, micro_step), rank, world_size)

    def validation_batches(self, data: ImageData) -> Iterable[Batch]:
        return data.validation.in_order(EVALUATION_ROWS)

    def decided_by(self, data: ImageData) -> dict[str, Any]:
        channels, height, width = data.image
        return {
            "images": f"{channels} × {height} × {width}",
            "patch_used": self.patch or small_patch(height, width),
            "classes_found": data.classes,
            "train_images": len(data.train),
            "validation_images": len(data.validation),
            "augmentation_used": str(data.augmentation),
        }

    def epoch_examples(self, data: ImageData) -> int:
        return len(data.train)

    def data_like(self, decided: Mapping[str, Any]) -> ImageData | None:
        image, classes = _sides(decided.get("images")), decided.get("classes_found")
        if image is None or not isinstance(classes, int) or not 1 <= classes <= MOST_CLASSES:
            return None
        train, validation = (
            BlankImages(image, count if isinstance(count, int) and 1 <= count <= MOST_IMAGES else 1)
            for count in (decided.get("train_images"), decided.get("validation_images"))
        )
        half = torch.full((image[0],), 0.5)
        return ImageData(train, validation, image, classes, half, half, str(self.data), Unchanged())


def _sides(images: Any) -> tuple[int, int, int] | None:
    """Return (channels, height, width) as `decided_by` writes them, or None if the value is something else."""
    found = re.fullmatch(r"([1-9]\d{0,4}) × ([1-9]\d{0,4}) × ([1-9]\d{0,4})", images if isinstance(images, str) else "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def small_patch(height: int, width: int) -> int:
    """Return the smallest side of a patch, from 2 on, with which an image has at most 64 patches, including padded
    ones.

    >>> small_patch(8, 8), small_patch(28, 28), small_patch(32, 64)
    (2, 4, 7)
    """
    side = 2
    while math.ceil(height / side) * math.ceil(width / side) > MOST_PATCHES:
        side += 1
    return side


def vit_recipe(size: str, optimizer: str, given: Mapping[str, Any]) -> ViTRecipe:
    """Return the ViT recipe of a size and an optimizer, as `recipe_for` does."""
    return recipe_for(ViTRecipe, size, optimizer, given)
