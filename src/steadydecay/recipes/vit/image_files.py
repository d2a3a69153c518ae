"""Image folders with one folder for each class: what is in them, and which split it belongs to."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from steadydecay.recipes.epoch_order import shuffled
from steadydecay.recipes.left_out import HIDDEN, LeftOut, warn_left_out
from steadydecay.recipes.vit.encoded_image import Encoded

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation", "test")
VALIDATION_ONE_IN = 5
NO_IMAGE = "without the suffix of an image"
NO_CLASS = "outside any class folder"
NO_IMAGES = "without an image inside"
WANTED = "a folder with one folder of images for each class, or with such a folder named train and one named val"


class ImageFile(NamedTuple):
    """A file, relative to the folder of its class, and the number of the class."""

    path: Path
    label: int


@final
@dataclass(frozen=True, eq=False)
class FileSource:
    """Images in files of their own, in an order that does not change."""

    name: str
    files: tuple[ImageFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def training_order(self, sequence: int, seed: int) -> int:
        return shuffled(sequence, len(self), seed)

    def read(self, indices: Sequence[int]) -> list[Encoded]:
        """Return images without their content, which the decoding processes read themselves."""
        return [Encoded(str(path), path, label) for path, label in (self.files[index] for index in indices)]


class FolderSplits(NamedTuple):
    """Training and validation files, and the names of their classes in order."""

    train: FileSource
    validation: FileSource
    classes: tuple[str, ...]


def read_image_folder(folder: Path) -> FolderSplits:
    """List the images of a folder, split into train/ and val/ or by file name, with one in five for validation.

    Raises:
        OSError: A folder cannot be read.
        ValueError: There is no image, only one class, a validation class that is not trained on, or an empty split.
    """
    train, validation = _named(folder, TRAIN_NAMES), _named(folder, VALIDATION_NAMES)
    if train is None or validation is None:
        return _split_by_name(folder)
    classes, files = _images_by_class(train)
    names_of_others, others = _images_by_class(validation)
    _require_classes(train, classes)
    if unknown := sorted(set(names_of_others) - set(classes)):
        raise ValueError(
            f"{validation} has the class {unknown[0]!r}, but {train} does not; every validation class must be trained "
            "on"
        )
    numbers = {number: classes.index(name) for number, name in enumerate(names_of_others)}
    renumbered = tuple(ImageFile(path, numbers[label]) for path, label in others)
    return FolderSplits(FileSource(str(train), files), FileSource(str(validation), renumbered), classes)


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _split_by_name(folder: Path) -> FolderSplits:
    classes, files = _images_by_class(folder)
    _require_classes(folder, classes)
    train = tuple(file for file in files if not _is_validation_file(file.path.relative_to(folder)))
    validation = tuple(file for file in files if _is_validation_file(file.path.relative_to(folder)))
    if not train or not validation:
        raise ValueError(
            f"{folder} splits by the names of its {len(files)} images into {len(train)} for training and "
            f"{len(validation)} for validation, and neither may be empty; give more images, or folders train and val"
        )
    return FolderSplits(
        FileSource(f"the training split of {folder}", train),
        FileSource(f"the validation split of {folder}", validation),
        classes,
    )


def _is_validation_file(path: Path) -> bool:
    return int(hashlib.sha256(os.fsencode(path.as_posix())).hexdigest(), 16) % VALIDATION_ONE_IN == 0


def _require_classes(folder: Path, classes: Sequence[str]) -> None:
    if not classes:
        raise ValueError(f"{folder} contains no folder with an image; it must be {WANTED}")
    if len(classes) == 1:
        raise ValueError(
            f"{folder} contains images of only one class, {classes[0]!r}, but there must be at least two to tell "
            "apart; "
            f"give {WANTED}"
        )


def _images_by_class(folder: Path) -> tuple[tuple[str, ...], tuple[ImageFile, ...]]:
    """Return the names of the classes and all files, both in order. One warning says what is left out."""
    left_out, by_class = LeftOut(), {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            left_out.add(entry.name, HIDDEN)
        elif not entry.is_dir():
            left_out.add(entry.name, NO_CLASS)
        else:
            by_class[entry.name] = _images_below(entry, folder, left_out)
            left_out.add(entry.name, "" if by_class[entry.name] else NO_IMAGES)
    warn_left_out(folder, left_out)
    classes = tuple(name for name, paths in by_class.items() if paths)
    return classes, tuple(ImageFile(path, label) for label, name in enumerate(classes) for path in by_class[name])


def _images_below(folder: Path, root: Path, left_out: LeftOut) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            is_image = name.lower().endswith(SUFFIXES) and not name.startswith(".")
            left_out.add(path.relative_to(root).as_posix(), "" if is_image else NO_IMAGE)
            found += [path] if is_image else []
    return found
