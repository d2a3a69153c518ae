"""Which changes of an image keep its class: asked of the data, through the class of the nearest other image."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from steadydecay.recipes.vit.augmentation import SmallMoves

QUERIES = 512
REFERENCES = 4_096
# Finer detail does not tell which image is nearest.
LARGEST_SIDE = 32
# Images are moved at this size at most: larger ones take gigabytes, and are seen at 32 all the same.
LARGEST_MOVED_SIDE = 64
SHRUNK_AT_ONCE = 64
# Of what the nearest image knows of the class beyond chance: a mirror image is as likely as the image where mirroring
# keeps the class, but a small move, which keeps it too, takes pixels away from those of the nearest image.
KEPT_BY_MIRRORING = 0.9
KEPT_BY_SMALL_MOVES = 0.5
# Standard errors above chance from which the nearest image knows anything.
KNOWN = 3.0
SMALL = SmallMoves(turn=8.0, zoom=0.08, shift=1 / 16)


def suitable_moves(images: Tensor, labels: Tensor) -> SmallMoves:
    """The small moves that keep the class of these images; mirroring only where the data bear it out.

    Where the nearest image says nothing of the class, turns, zooms and shifts are taken on trust, and mirroring is not.

    Args:
        images: uint8 (n, channels, height, width), n ≥ 2.
        labels: int64 (n,).
    """
    # Evenly spaced: data are often in the order of their classes.
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
    """The share of images whose nearest other has their label; `same` (images, others) is the image itself."""
    distances = torch.cdist(images, others)
    nearest = distances.masked_fill(same, torch.inf).argmin(1)
    return float((of_others[nearest] == labels).double().mean())


def _shrunk(images: Tensor) -> Tensor:
    """In 0…1, with sides of at most `LARGEST_MOVED_SIDE`; a few at a time, for all as floats may be too large."""
    *_, height, width = images.shape
    shrink = max(1.0, max(height, width) / LARGEST_MOVED_SIDE)
    sides = max(1, round(height / shrink)), max(1, round(width / shrink))
    return torch.cat([F.adaptive_avg_pool2d(part / 255, sides) for part in images.split(SHRUNK_AT_ONCE)])


def _features(images: Tensor) -> Tensor:
    *_, height, width = images.shape
    return F.adaptive_avg_pool2d(images, (min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))).flatten(1)
