"""What a model of images is trained and validated on, wherever the images are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from steadydecay.recipes.epoch_order import shuffled
from steadydecay.recipes.recipe import Batch
from steadydecay.recipes.vit.augmentation import Augmentation


class ImageSplit(Protocol):
    """One split of the data. Batches are images, uint8 (rows, channels, height, width), and labels, int64 (rows,)."""

    def __len__(self) -> int:
        """How many images."""
        ...

    def training_batch(self, wanted: Sequence[range], seed: int) -> Batch:
        """The images that come at the sequence numbers in `wanted[0]`; the ranges after it are asked for next.

        Sequence numbers count over epochs, each of which has every image once, in an order that the seed decides.
        """
        ...

    def in_order(self, rows: int) -> Iterable[Batch]:
        """All images, `rows` at a time, the same on every call."""
        ...


@final
@dataclass(frozen=True, eq=False)
class ImageData:
    """Both splits, and what is known of their images.

    Attributes:
        train, validation: splits without a common image.
        image: (channels, height, width).
        classes: labels are in [0, classes).
        mean, std: of each channel, shape (channels,), in 0…1.
        name: "digits" or the path as given; for the run log.
        augmentation: that the recipe asks for, or that suits the data.
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
    """A split whose images are there: uint8 (n, channels, height, width), with labels, int64 (n,)."""

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
    """A split of `count` black images (channels, height, width) of class 0, for what depends on their size alone."""

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
