"""Decode images when they are needed, in separate processes and ahead of the training step."""

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, final

import numpy as np
import torch

from steadydecay.recipes import helper_process
from steadydecay.recipes.recipe import Batch
from steadydecay.recipes.vit.decoding import SHORTER_SIDE_OVER_CROP, Decoded, View, decoded
from steadydecay.recipes.vit.encoded_image import Encoded
from steadydecay.recipes.vit.image_data import ImagesInMemory

# The least area of a random crop as a share of the image, as in the paper.
LEAST_CROP = 0.05
MOST_FAULTY_SHARE = 0.01
# The number of images that a process is given at a time.
CHUNK = 8
READERS = 2
LARGEST_IN_MEMORY = 4 * 2**30


class ImageSource(Protocol):
    """Encoded images with their labels."""

    @property
    def name(self) -> str:
        """A name for messages."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def training_order(self, sequence: int, seed: int) -> int:
        """Return the index of the image at place `sequence` of the training order. Each image occurs once per epoch."""
        ...

    def read(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at these indices. Several threads may call this at the same time."""
        ...


@final
class Faults:
    """The images of a split that cannot be decoded. Each is named once, and more than 1 % of the split are an error."""

    def __init__(self, name: str, images: int) -> None:
        self._name, self._images = name, images
        self._faulty: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._faulty)

    def add(self, name: str, fault: str) -> None:
        """Count an image.

        Raises:
            ValueError: Too many images cannot be decoded.
        """
        if name in self._faulty:
            return
        self._faulty[name] = fault
        count = len(self)
        if count > MOST_FAULTY_SHARE * self._images:
            shown = "; ".join(f"{one} ({why})" for one, why in list(self._faulty.items())[:5])
            raise ValueError(
                f"{count} of the {self._images:,} images of {self._name} cannot be decoded, but at most "
                f"{MOST_FAULTY_SHARE:.0%} may be damaged: {shown}. Download these again or remove them."
            )
        warnings.warn(f"Skipped {name}: {fault} ({count} skipped of {self._images:,})", stacklevel=2)


@final
class Decoders:
    """Processes that decode images. They start when the first image is asked for."""

    def __init__(self) -> None:
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.count = max(1, (os.cpu_count() or 1) // local_ranks)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        # Not forked, because this process has threads by now.
        return ProcessPoolExecutor(self.count, multiprocessing.get_context("spawn"), helper_process.begin)

    def decode(self, images: Sequence[Encoded], views: Sequence[View]) -> list[Decoded]:
        """Decode images in order.

        Raises:
            OSError: A process was killed.
        """
        try:
            contents = [image.content for image in images]
            return list(self._pool.map(decoded, contents, views, chunksize=CHUNK))
        except BrokenProcessPool:
            raise OSError(
                "a process that decodes images was killed, as happens when memory runs out; run the same command "
                "again, and "
                "the run resumes from its last checkpoint"
            ) from None


@final
class ImageStream:
    """A split whose images are decoded when they are needed, and slightly ahead.

    Args:
        source: The encoded images.
        side: The side in pixels of the square that the model sees.
        decoders: The decoding processes, which both splits may share.
    """

    def __init__(self, source: ImageSource, side: int, decoders: Decoders) -> None:
        self.source, self.side, self.decoders = source, side, decoders
        self.faults = Faults(source.name, len(source))
        self._ahead: dict[tuple[range, int], Future[Batch]] = {}

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(READERS)

    def training_batch(self, wanted: Sequence[range], seed: int) -> Batch:
        keys = [(rows, seed) for rows in wanted]
        self._ahead = {key: self._ahead.get(key) or self._readers.submit(self._cropped, *key) for key in keys}
        return self._ahead.pop(keys[0]).result()

    def in_order(self, rows: int) -> "DecodedInOrder":
        return DecodedInOrder(self, rows)

    def read_ahead(self, indices: Sequence[int], views: Sequence[View]) -> Future[Batch]:
        """Start `batch_of` at once and return its future."""
        return self._readers.submit(self.batch_of, indices, views)

    def _cropped(self, sequences: range, seed: int) -> Batch:
        indices = [self.source.training_order(sequence, seed) for sequence in sequences]
        views = [View(self.side, least_area=LEAST_CROP, key=(seed % 2**64, sequence)) for sequence in sequences]
        images, labels = self.batch_of(indices, views)
        if not len(labels):
            raise ValueError(f"no image of a batch of {self.source.name} can be decoded; at least one must be readable")
        # A step needs its full number of images, so the first whole ones replace those that are skipped.
        rows = torch.arange(len(sequences)) % len(labels)
        return images[rows], labels[rows]

    def batch_of(self, indices: Sequence[int], views: Sequence[View]) -> Batch:
        """Return those images at these indices that can be decoded, and their labels."""
        read = self.source.read(indices)
        found = self.decoders.decode(read, views)
        for image, one in zip(read, found, strict=True):
            if one.pixels is None:
                self.faults.add(image.name, one.fault)
        whole = [(one.pixels, image.label) for image, one in zip(read, found, strict=True) if one.pixels is not None]
        pixels = [one for one, _ in whole]
        images = np.stack(pixels) if pixels else np.empty((0, 3, self.side, self.side), np.uint8)
        return torch.from_numpy(images), torch.tensor([label for _, label in whole], dtype=torch.int64)


@final
@dataclass(frozen=True)
class DecodedInOrder:
    """All images of a stream, uncropped, in batches of `rows`. As `MadeItems`, each rank decodes only its own.

    A batch with no image that can be decoded is left out of the iteration, and is empty when asked for by its place.
    """

    stream: ImageStream
    rows: int

    def __len__(self) -> int:
        return -(-len(self.stream) // self.rows)

    def __iter__(self) -> Iterator[Batch]:
        return (batch for batch in self.at(range(len(self))) if len(batch[1]))

    def at(self, places: Sequence[int]) -> Iterator[Batch]:
        """Yield the batches at these places in order, decoding slightly ahead."""
        ahead: deque[Future[Batch]] = deque()
        for place in places:
            ahead.append(self._begun(place))
            if len(ahead) > READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _begun(self, place: int) -> Future[Batch]:
        share = range(place * self.rows, min((place + 1) * self.rows, len(self.stream)))
        view = View(self.stream.side, margin=SHORTER_SIDE_OVER_CROP)
        return self.stream.read_ahead(share, [view] * len(share))


def _unless_empty(batch: Batch) -> Iterator[Batch]:
    if len(batch[0]):
        yield batch


def decoded_at_once(source: ImageSource, side: int, decoders: Decoders) -> ImagesInMemory:
    """Decode all images of a source: the largest central square of each, at `side` pixels.

    Raises:
        ValueError: The images do not fit into memory, or more than 1 % of them cannot be decoded.
    """
    if (size := len(source) * 3 * side**2) > LARGEST_IN_MEMORY:
        raise ValueError(
            f"image_size is {side}, at which the {len(source):,} images of {source.name} take {size / 2**30:.1f} GiB "
            "of "
            f"memory, but the limit is {LARGEST_IN_MEMORY / 2**30:g} GiB; give a smaller image_size, or "
            "augmentation=photographs, which decodes images when they are needed"
        )
    stream = ImageStream(source, side, decoders)
    view = View(side)
    batches = [
        stream.batch_of(indices, [view] * len(indices))
        for start in range(0, len(source), 1024)
        for indices in [range(start, min(start + 1024, len(source)))]
    ]
    return ImagesInMemory(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
