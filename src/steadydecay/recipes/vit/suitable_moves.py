"""Find the augmentations that preserve an image's class, by asking the class of the nearest other image."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from steadydecay.recipes.vit.augmentation import SmallMoves

QUERIES = 512
REFERENCES = 4_096
# Finer detail does not help to find the nearest image.
LARGEST_SIDE = 32
# Larger images are moved at this size, because they would take gigabytes, and are compared at 32 all the same.
LARGEST_MOVED_SIDE = 64
SHRUNK_AT_ONCE = 64
# A share of what the nearest image reveals about the class beyond chance: where mirroring preserves the class, a mirror
# image is as likely as the image. A small move preserves it too, but removes pixels that the nearest image has.
KEPT_BY_MIRRORING = 0.9
KEPT_BY_SMALL_MOVES = 0.5
# How many standard errors above chance show that the nearest image reveals anything.
KNOWN = 3.0
SMALL = SmallMoves(turn=8.0, zoom=0.08, shift=1 / 16)


def suitable_moves(images: Tensor, labels: Tensor) -> SmallMoves:
    """Return the small moves that preserve the class of these images, with mirroring only if the data confirm it.

    If the nearest image reveals nothing about the class, rotation, scaling and shifts are used on trust, and mirroring
    is not.

    Args:
        images: uint8 of shape (n, channels, height, width), n ≥ 2.
        labels: int64 of shape (n,).
    """
    # Evenly spaced, because data are often sorted by class.
    queries = torch.linspace(0, len(labels) - 1, min(QUERIES, len(labels))).long().unique()
    references = torch.linspace(0, len(labels) - 1, min(REFERENCES, len(labels))).long().unique()
    chance = float((labels.bincount() / len(labels)).square().sum())
    moving, still = _shrunk(images[queries]), _features(_shrunk(images[references]))

    def found(moves: SmallMoves, direction: float) -> float:
        draws = torch.full((len(queries), 6), direction)
        moved = _features(moves.moved(moving, draws))
        same = queries[:, None] == references
        return _nearest_has_label(moved, labels[queries], still, labels[references], same)

    plain = found(SmallMoves(), 0.0)
    if plain - chance <= KNOWN * (plain * (1 - plain) / len(queries)) ** 0.5:
        return SMALL
    chosen = SmallMoves()
    for name in ("turn", "zoom", "shift"):
        one = {name: getattr(SMALL, name)}
        kept = min(found(SmallMoves(**one), direction) for direction in (-1.0, 1.0))
        if kept - chance >= KEPT_BY_SMALL_MOVES * (plain - chance):
            chosen = replace(chosen, **one)
    mirrored = found(SmallMoves(flip=True), 1.0)
    return replace(chosen, flip=mirrored - chance >= KEPT_BY_MIRRORING * (plain - chance))


def _nearest_has_label(images: Tensor, labels: Tensor, others: Tensor, of_others: Tensor, same: Tensor) -> float:
    """Return the share of images whose nearest other image has their label; `same` (images, others) marks the image."""
    distances = torch.cdist(images, others)
    nearest = distances.masked_fill(same, torch.inf).argmin(1)
    return float((of_others[nearest] == labels).double().mean())


def _shrunk(images: Tensor) -> Tensor:
    """Return images in 0…1 with sides of at most `LARGEST_MOVED_SIDE`, a few at a time because all may not fit."""
    *_, height, width = images.shape
    shrink = max(1.0, max(height, width) / LARGEST_MOVED_SIDE)
    sides = max(1, round(height / shrink)), max(1, round(width / shrink))
    return torch.cat([F.adaptive_avg_pool2d(part / 255, sides) for part in images.split(SHRUNK_AT_ONCE)])


def _features(images: Tensor) -> Tensor:
    *_, height, width = images.shape
    return F.adaptive_avg_pool2d(images, (min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))).flatten(1)
