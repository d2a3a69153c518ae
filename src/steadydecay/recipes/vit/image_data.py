"""The image data that a model is trained and validated on, wherever the images are stored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from steadydecay.recipes.epoch_order import shuffled
from steadydecay.recipes.recipe import Batch
from steadydecay.recipes.vit.augmentation import Augmentation


class ImageSplit(Protocol):
    """A split of the data. Its batches are images, uint8 (rows, channels, height, width), and labels, int64 (rows,)."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def training_batch(self, wanted: Sequence[range], seed: int) -> Batch:
        """Return the images at the sequence numbers in `wanted[0]`. The other ranges will be asked for next.

        Sequence numbers count over epochs. Each epoch has every image once, in an order that the seed decides.
        """
        ...

    def in_order(self, rows: int) -> Iterable[Batch]:
        """Return all images in batches of `rows`, the same on every call."""
        ...


@final
@dataclass(frozen=True, eq=False)
class ImageData:
    """Both splits, and what is known about their images.

    Attributes:
        train, validation: The splits, which share no image.
        image: The shape (channels, height, width).
        classes: The number of classes. Labels are in [0, classes).
        mean, std: The statistics of each channel in 0…1, of shape (channels,).
        name: "digits" or the path as it was given, for the run log.
        augmentation: The one that the recipe asks for, or one that suits the data.
    """

    train: ImageSplit
    validation: ImageSplit
    image: tuple[int, int, int]
    classes: int
    mean: Tensor
    std: Tensor
    name: str
    augmentation: Augmentation


@final
@dataclass(frozen=True, eq=False)
class ImagesInMemory:
    """A split with images in memory: uint8 (n, channels, height, width), and labels, int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def training_batch(self, wanted: Sequence[range], seed: int) -> Batch:
        rows = torch.tensor([shuffled(sequence, len(self), seed) for sequence in wanted[0]])
        return self.images[rows], self.labels[rows]

    def in_order(self, rows: int) -> Iterator[Batch]:
        return zip(self.images.split(rows), self.labels.split(rows), strict=True)


@final
@dataclass(frozen=True)
class BlankImages:
    """A split of `count` black images of class 0, for what depends only on the size (channels, height, width)."""

    image: tuple[int, int, int]
    count: int

    def __len__(self) -> int:
        return self.count

    def training_batch(self, wanted: Sequence[range], seed: int) -> Batch:
        return self._batch(len(wanted[0]))

    def in_order(self, rows: int) -> Iterator[Batch]:
        return (self._batch(min(rows, self.count - start)) for start in range(0, self.count, rows))

    def _batch(self, rows: int) -> Batch:
        return torch.zeros((rows, *self.image), dtype=torch.uint8), torch.zeros(rows, dtype=torch.int64)
