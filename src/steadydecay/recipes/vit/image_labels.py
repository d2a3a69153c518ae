"""Check labels of images, which are whole numbers from 0 and below the number of classes."""

import warnings

import numpy as np


def checked_labels(
    name: str, labels: np.ndarray, images: int, classes: int | None, *, alone: bool = True
) -> np.ndarray:
    """Return the labels unchanged if they are legal.

    Args:
        name: The name of the array, for messages.
        labels: One label for each image.
        images: The number of images.
        classes: The number of classes. None takes it from the labels.
        alone: Whether these are all labels that are trained on, so that there must be at least two classes.

    Raises:
        ValueError: The labels have another shape or type, or one is outside its range.
    """
    if labels.shape != (images,):
        raise ValueError(f"{name} have the shape {labels.shape}; it must be ({images},), one for each image")
    if labels.dtype.kind not in "iu":
        remedy = "convert whole numbers with labels.astype(int)" if labels.dtype.kind == "f" else ""
        raise ValueError(
            f"{name} have the dtype {labels.dtype}; they must be integers from 0" + f": {remedy}" * bool(remedy)
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        first = int(np.flatnonzero((labels < 0) | (labels >= (classes or high + 1)))[0])
        legal = f"in [0, {classes})" if classes is not None else "0 or larger"
        raise ValueError(
            f"{name} contain {int(labels[first])} at place {first}; they must be {legal}: number the classes from 0"
        )
    if alone:
        _require_classes(name, labels, images, high + 1 if classes is None else classes)
    return labels


def _require_classes(name: str, labels: np.ndarray, images: int, classes: int) -> None:
    if classes > images:
        raise ValueError(
            f"{name} reach {classes - 1}, which makes {classes:,} classes for {images:,} images; there must be fewer "
            "classes than images: number the classes from 0"
        )
    counts = np.bincount(labels, minlength=classes)
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            f"{name} contain only one class, {int(labels[0])}; there must be at least two classes to tell apart"
        )
    if (missing := np.flatnonzero(counts == 0)).size:
        warnings.warn(
            f"{name}: {missing.size} of {classes} classes have no image; the first is {missing[0]}", stacklevel=2
        )
