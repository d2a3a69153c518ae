"""Augment training images on the device that trains, as a pure function of (seed, step), so that runs resume."""

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor
from torch.nn import functional as F

from steadydecay.recipes.recipe import Batch

RANDOM_OPERATIONS = 2
# The magnitude on kornia's scale to 30.
RANDOM_MAGNITUDE = 10
MIXUP = 0.2
# RandAugment draws one pair of operations per call, and a batch needs many.
IMAGES_PER_DRAW = 8


class Augmentation(Protocol):
    """An augmentation of training images."""

    def __call__(self, batch: Batch, seed: int, rank: int, world_size: int) -> Batch:
        """Return the arguments with which the model is called.

        Args:
            batch: The rank's share: images, uint8 of shape (rows, channels, height, width), and labels.
            seed: The seed of the whole batch, over all ranks.
            rank, world_size: This rank and the number of ranks.
        """
        ...

    def __str__(self) -> str:
        """Describe the augmentation in words, for the run's record."""
        ...


@final
@dataclass(frozen=True)
class Unchanged:
    """Images as they are."""

    def __call__(self, batch: Batch, seed: int, rank: int, world_size: int) -> Batch:
        return batch

    def __str__(self) -> str:
        return "none"


@final
@dataclass(frozen=True)
class SmallMoves:
    """Rotate, scale and shift each image a little, and mirror half of the images if that preserves their class.

    Attributes:
        turn: The largest angle in degrees.
        zoom: The largest relative change of size, of each axis separately.
        shift: The largest shift as a share of each side.
        flip: Whether to mirror left and right.
    """

    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    flip: bool = False

    def __call__(self, batch: Batch, seed: int, rank: int, world_size: int) -> Batch:
        images, *others = batch
        # Drawn on the host and for all ranks, so that an image moves alike on any device and with any number of ranks.
        of_all = torch.rand(world_size, len(images), 6, generator=torch.Generator().manual_seed(seed))
        return self.moved(images, 2 * of_all[rank].to(images.device) - 1), *others

    def moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Move float images in 0…1 by draws (rows, 6) in -1…1, as shares of the largest turn, zoom and shift."""
        return warped(images, self._affine_maps(draws, *images.shape[2:]))

    def _affine_maps(self, draws: Tensor, height: int, width: int) -> Tensor:
        angle, zoom_x, zoom_y, shift_x, shift_y, mirror = draws.unbind(1)
        angle = angle * math.radians(self.turn)
        stretch_x, stretch_y = (torch.exp(one * math.log1p(self.zoom)) for one in (zoom_x, zoom_y))
        if self.flip:
            stretch_x = stretch_x * (2 * (mirror < 0) - 1)
        # Coordinates run from -1 to 1 along each side, whatever its length, but a rotation is one of pixels.
        aspect = height / width
        first = torch.stack([angle.cos() * stretch_x, -angle.sin() * stretch_y * aspect, 2 * self.shift * shift_x], 1)
        second = torch.stack([angle.sin() * stretch_x / aspect, angle.cos() * stretch_y, 2 * self.shift * shift_y], 1)
        return torch.stack([first, second], dim=1)

    def __str__(self) -> str:
        parts = [f"turned up to {self.turn:g} degrees"] if self.turn else []
        parts += [f"zoomed up to {self.zoom:.0%}"] if self.zoom else []
        parts += [f"shifted up to {self.shift:.1%} of each side"] if self.shift else []
        parts += ["mirrored half of the time"] if self.flip else ["not mirrored"]
        return ", ".join(parts)


@final
@dataclass(frozen=True)
class RandAugmentMixup:
    """The paper's augmentation of photographs: mirroring, RandAugment and Mixup. The random crop happens in
    decoding."""

    def __call__(self, batch: Batch, seed: int, rank: int, world_size: int) -> Batch:
        from kornia.augmentation.auto import RandAugment

        images, labels = batch
        rand_augment = RandAugment(RANDOM_OPERATIONS, RANDOM_MAGNITUDE)
        # kornia draws from torch's global generators.
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            torch.manual_seed(seed_of(seed, rank))
            mirrored = (torch.rand(len(images), 1, 1, 1) < 0.5).to(images.device)
            x = images.float() / 255
            x = torch.where(mirrored, x.flip(3), x)
            x = torch.cat([rand_augment(part) for part in x.split(IMAGES_PER_DRAW)])
            share = torch.distributions.Beta(MIXUP, MIXUP).sample((len(images),)).to(images.device)
            partners = torch.randperm(len(images)).to(images.device)
        weight = share[:, None, None, None]
        return weight * x + (1 - weight) * x[partners], labels, labels[partners], share

    def __str__(self) -> str:
        operations = f"RandAugment ({RANDOM_OPERATIONS}, {RANDOM_MAGNITUDE})"
        return f"random resized crop, mirrored half of the time, {operations}, Mixup {MIXUP:g}"


def seed_of(*key: int) -> int:
    """Return a seed for torch in [0, 2⁶³) that differs for each key of whole numbers."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, key)).encode()).digest()[:8], "big") >> 1


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """View images in 0…1 through affine maps (rows, 2, 3) of the plane. Pixels of the border continue beyond it."""
    images = images / 255 if images.dtype == torch.uint8 else images
    grid = F.affine_grid(maps.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
