"""Labels of images: whole numbers from 0, below the number of classes."""

import warnings

import numpy as np


def checked_labels(
    name: str, labels: np.ndarray, images: int, classes: int | None, *, alone: bool = True
) -> np.ndarray:
    """The labels, as they are.

    Args:
        name: of the array, for messages.
        labels: one for each image.
        images: how many.
        classes: every label is below it; None where the labels themselves say how many there are.
        alone: they are all that is trained on, so there are two classes or more.

    Raises:
        ValueError: another shape or type, or a label outside its range.
    """
    if labels.shape != (images,):
        raise ValueError(f"{name} have shape {labels.shape}; legal is ({images},), one for each image")
    if labels.dtype.kind not in "iu":
        remedy = "whole numbers as floats become integers with labels.astype(int)" if labels.dtype.kind == "f" else ""
        raise ValueError(
            f"{name} have dtype {labels.dtype}; legal are integers from 0 on" + f": {remedy}" * bool(remedy)
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        first = int(np.flatnonzero((labels < 0) | (labels >= (classes or high + 1)))[0])
        legal = f"[0, {classes})" if classes is not None else "0 on"
        raise ValueError(
            f"{name} hold {int(labels[first])} at place {first}; legal is {legal}: number the classes from 0"
        )
    if alone:
        _require_classes(name, labels, images, high + 1 if classes is None else classes)
    return labels


def _require_classes(name: str, labels: np.ndarray, images: int, classes: int) -> None:
    if classes > images:
        raise ValueError(
            f"{name} reach {classes - 1}, so there are {classes:,} classes, for {images:,} images; legal are fewer "
            "classes than images: number the classes from 0"
        )
    counts = np.bincount(labels, minlength=classes)
    if np.count_nonzero(counts) < 2:
        raise ValueError(f"{name} hold the one class {int(labels[0])}; legal are two or more: there is nothing to tell")
    if (missing := np.flatnonzero(counts == 0)).size:
        warnings.warn(
            f"{name}: {missing.size} of {classes} classes have no image, the first is {missing[0]}", stacklevel=2
        )
