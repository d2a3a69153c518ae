"""Load image data from a path: the embedded digits, an `.npz`, parquet files, or a folder of images."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from steadydecay.recipes.overrides import nearest
from steadydecay.recipes.vit.augmentation import Augmentation, RandAugmentMixup, Unchanged
from steadydecay.recipes.vit.image_arrays import Splits, digits, read_npz
from steadydecay.recipes.vit.image_data import ImageData, ImagesInMemory
from steadydecay.recipes.vit.image_files import read_image_folder
from steadydecay.recipes.vit.suitable_moves import SMALL, suitable_moves

AUTO, PHOTOGRAPHS = "auto", "photographs"
AUGMENTATIONS: dict[str, Augmentation | None] = {
    AUTO: None,
    "none": Unchanged(),
    "moves": SMALL,
    "moves_and_flips": replace(SMALL, flip=True),
    PHOTOGRAPHS: RandAugmentMixup(),
}
# The side of images from files, if the recipe does not set it.
USUAL_SIDE = 32
COLOURS = 3
WANTED = "an .npz, a .parquet file or a folder of them, or a folder with one folder of images for each class"


class Wishes(NamedTuple):
    """What a recipe says about its images.

    Attributes:
        augmentation: A key of `AUGMENTATIONS`. "auto" chooses what suits the data, and "photographs" decodes files when
            they are needed.
        image_size: The side in pixels of images from files. None is the usual side. Arrays keep their size.
        classes: The number of classes. None takes it from the labels.
    """

    augmentation: str
    image_size: int | None = None
    classes: int | None = None


def load_images(path: str | None, wishes: Wishes) -> ImageData:
    """Load the image data that `path` names.

    Args:
        path: None for scikit-learn's digits, an `.npz`, a `.parquet` file or a folder of them, or a folder with one
            folder of images for each class.
        wishes: What the recipe says about its images.

    Raises:
        OSError: The path does not exist or cannot be read.
        ValueError: The path is empty, the augmentation is unknown, or the data cannot be trained on.
    """
    if wishes.augmentation not in AUGMENTATIONS:
        raise ValueError(f"augmentation is {wishes.augmentation!r}{nearest(wishes.augmentation, AUGMENTATIONS)}")
    if path is None:
        return _of_arrays("digits", digits(), wishes)
    source = Path(path)
    _require_there(path, source)
    if source.suffix == ".npz":
        return _of_arrays(path, read_npz(source, wishes.classes), wishes)
    if source.suffix == ".parquet" or source.is_dir():
        return _of_files(path, source, wishes)
    raise ValueError(f"data is {path!r}, which is neither an .npz nor a .parquet file; give {WANTED}")


def _require_there(path: str, source: Path) -> None:
    if not path:
        raise ValueError(
            "data is '', perhaps because a shell variable is not set. Give a path (. is the current folder), or omit "
            "--data to train on the embedded digits."
        )
    if not source.exists():
        raise FileNotFoundError(
            f"data is {path!r}, which does not exist. Give {WANTED}, or omit it (None) to train on the digits."
        )


def _of_arrays(name: str, splits: Splits, wishes: Wishes) -> ImageData:
    if wishes.augmentation == PHOTOGRAPHS:
        others = ", ".join(one for one in AUGMENTATIONS if one != PHOTOGRAPHS)
        raise ValueError(
            f"augmentation is {PHOTOGRAPHS!r}, which crops images while it decodes them from files; for the arrays of "
            f"{name} it must be one of {others}"
        )
    train = splits.train
    chosen = AUGMENTATIONS[wishes.augmentation] or suitable_moves(train.images, train.labels)
    pixels = _moments(train)
    classes = wishes.classes or 1 + max(int(split.labels.max()) for split in splits)
    _, channels, height, width = train.images.shape
    return ImageData(*splits, (channels, height, width), classes, *pixels, name, chosen)


def _moments(images: ImagesInMemory) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of each channel in 0…1. A channel with one value everywhere has deviation 1."""
    # Count how often each byte occurs, to avoid a copy of the images as floats.
    values = torch.arange(256, dtype=torch.float64) / 255
    channels = images.images.transpose(0, 1).flatten(1)
    shares = torch.stack([one.bincount(minlength=256) for one in channels]).double() / channels.shape[1]
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(1).sqrt()
    return mean.float(), torch.where(std > 0, std, 1.0).float()


def _of_files(name: str, source: Path, wishes: Wishes) -> ImageData:
    # Decoding needs Pillow and parquet needs pyarrow, but data in arrays need neither.
    try:
        if wishes.augmentation == PHOTOGRAPHS:
            import kornia.augmentation  # noqa: F401
        from steadydecay.recipes.vit.image_parquet import parquet_files, read_parquet
        from steadydecay.recipes.vit.image_stream import Decoders, ImageStream, decoded_at_once
    except ImportError as error:
        raise ValueError(f"data is {name!r}, which needs {error.name}; install steadydecay[vit]") from None

    paths = [source] if source.is_file() else parquet_files(source)
    splits = read_parquet(name, paths, wishes.classes) if paths else read_image_folder(source)
    classes = splits.classes if isinstance(splits.classes, int) else len(splits.classes)
    side, decoders = wishes.image_size or USUAL_SIDE, Decoders()
    if wishes.augmentation != PHOTOGRAPHS:
        return _of_arrays(
            name,
            Splits(*(decoded_at_once(one, side, decoders) for one in (splits.train, splits.validation))),
            wishes._replace(classes=classes),
        )
    train, validation = (ImageStream(one, side, decoders) for one in (splits.train, splits.validation))
    # Simple ViT scales pixels to -1…1, so no statistics of the data are needed.
    half = torch.full((COLOURS,), 0.5)
    return ImageData(train, validation, (COLOURS, side, side), classes, half, half, name, RandAugmentMixup())
