"""Images in memory: scikit-learn's digits, arrays in an `.npz`, and their split by the content of each image."""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from steadydecay.recipes.vit.image_data import ImagesInMemory
from steadydecay.recipes.vit.image_labels import checked_labels
from steadydecay.run_log.plain_file import open_plain

VALIDATION_ONE_IN = 5
MOST_CHANNELS = 4
FEWEST_PIXELS = 2
LARGEST_DIGIT_PIXEL = 16
WANTED = "an .npz with images (n, h, w) or (n, h, w, c) in 0…255 and labels (n,)"


class Splits(NamedTuple):
    """Training and validation images in memory."""

    train: ImagesInMemory
    validation: ImagesInMemory


def digits() -> Splits:
    """Load the 1,797 handwritten digits of scikit-learn, 8 × 8 in grey, split by their hash.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError(
            "data is None, which is the digits of scikit-learn, but scikit-learn is not installed; install "
            f"steadydecay[vit], or give --data with {WANTED}, a folder of images, or parquet files"
        ) from None
    content: Any = load_digits()
    pixels = np.round(content.images * (255 / LARGEST_DIGIT_PIXEL)).astype(np.uint8)
    return split_by_hash(_in_memory(pixels[..., None], content.target))


def read_npz(path: Path, classes: int | None) -> Splits:
    """Read an `.npz`. It is validated on its `val_images` and `val_labels` or, without them, on one image in five.

    Args:
        path: A file with `images` of shape (n, h, w) or (n, h, w, c) in 0…255, and `labels` of shape (n,), whole
            numbers from 0.
        classes: The number of classes, which every label must be below. None takes it from the labels.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not an `.npz`, or an array is missing, damaged, empty, or of another shape, type or
            range.
    """
    arrays = _arrays_of(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise ValueError(f"{path} contains {', '.join(arrays) or 'nothing'}, but no {name}; it must be {WANTED}")
    if ("val_images" in arrays) != ("val_labels" in arrays):
        raise ValueError(f"{path} contains only one of val_images and val_labels; give both of them or neither")
    images = _checked_images(f"images of {path}", arrays["images"])
    labels = checked_labels(f"labels of {path}", arrays["labels"], len(images), classes)
    if "val_images" not in arrays:
        return split_by_hash(_in_memory(images, labels))
    others = _checked_images(f"val_images of {path}", arrays["val_images"])
    if others.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"val_images of {path} are {_size(others)}, but images are {_size(images)}; both must have one size"
        )
    known = classes or int(labels.max()) + 1
    of_others = checked_labels(f"val_labels of {path}", arrays["val_labels"], len(others), known, alone=False)
    return Splits(_in_memory(images, labels), _in_memory(others, of_others))


def split_by_hash(images: ImagesInMemory) -> Splits:
    """Use one image in five for validation, by the hash of its pixels, so that duplicates are in the same split.

    Raises:
        ValueError: One split is empty.
    """
    hashes = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images]
    is_validation = torch.tensor([int.from_bytes(one, "big") % VALIDATION_ONE_IN == 0 for one in hashes])
    train, validation = (
        ImagesInMemory(images.images[chosen], images.labels[chosen]) for chosen in (~is_validation, is_validation)
    )
    if not len(train) or not len(validation):
        raise ValueError(
            f"the {len(images)} images split by their hashes into {len(train)} for training and {len(validation)} for "
            "validation, and neither may be empty; give more different images, or a validation split of your own"
        )
    return Splits(train, validation)


def _arrays_of(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_plain(path) as file:
            # Never unpickle: an array of objects would run the code in it.
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise ValueError(f"it contains a single array of shape {content.shape}; save it with np.savez")
            return {name: content[name] for name in content.files}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, zlib.error) as error:
        is_of_objects = "allow_pickle" in str(error) and zipfile.is_zipfile(path)
        why = "it contains an array of objects, which is never loaded; make it an array of numbers" * is_of_objects
        raise ValueError(f"{path} cannot be read ({why or error}); it must be {WANTED}") from None


def _checked_images(name: str, images: np.ndarray) -> np.ndarray:
    """Return the images as uint8 of shape (n, h, w, c)."""
    if images.ndim not in (3, 4):
        raise ValueError(f"{name} have the shape {images.shape}; it must be (n, h, w) or (n, h, w, c)")
    images = images[..., None] if images.ndim == 3 else images
    count, height, width, channels = images.shape
    if not count:
        raise ValueError(f"{name} have the shape {images.shape}, which contains no image; give at least one")
    if not 1 <= channels <= MOST_CHANNELS:
        remedy = "channels come last, where np.moveaxis(images, 1, -1) moves them"
        raise ValueError(f"{name} have {channels} channels; they must have 1 to {MOST_CHANNELS}: {remedy}")
    if min(height, width) < FEWEST_PIXELS:
        raise ValueError(f"{name} are {height} × {width}; each side must have at least {FEWEST_PIXELS} pixels")
    return images if images.dtype == np.uint8 else _as_bytes(name, images)


def _as_bytes(name: str, images: np.ndarray) -> np.ndarray:
    if images.dtype.kind not in "iuf":
        raise ValueError(f"{name} have the dtype {images.dtype}; they must be whole numbers or floats in 0…255")
    low, high = images.min(), images.max()
    # NaN is in no range.
    if not (low >= 0 and high <= 255):
        raise ValueError(f"{name} range from {low:g} to {high:g}; they must be in 0…255")
    if images.dtype.kind == "f" and high <= 1:
        raise ValueError(f"{name} are floats up to {high:g}; they must be in 0…255: multiply floats in 0…1 by 255")
    return np.rint(images).astype(np.uint8)


def _in_memory(images: np.ndarray, labels: np.ndarray) -> ImagesInMemory:
    first = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    return ImagesInMemory(torch.from_numpy(first), torch.from_numpy(labels.astype(np.int64)))


def _size(images: np.ndarray) -> str:
    return " × ".join(map(str, images.shape[1:]))
