"""Decode one image from bytes to pixels. The decoding processes import this module, so it does without torch."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from PIL import Image

# As in torchvision and Inception: the tries for a random crop, and the range of its width divided by its height.
CROPS_TRIED = 10
NARROWEST, WIDEST = 3 / 4, 4 / 3
# Simple ViT evaluates the central 224 of 256 pixels.
SHORTER_SIDE_OVER_CROP = 256 / 224
DRAFT_OVER_SIDE = 2
LONGEST_FAULT = 120

Box = tuple[float, float, float, float]


@final
@dataclass(frozen=True)
class View:
    """The part of an image that is seen: a square of `side` pixels.

    Attributes:
        side: The side in pixels.
        margin: For the centre crop, the image's shorter side relative to `side` before the crop; 1 crops nothing.
        least_area: For a random crop, its least area as a share of the image; 1 selects the centre crop.
        key: The key of the random crop. The same key gives the same crop.
    """

    side: int
    margin: float = 1.0
    least_area: float = 1.0
    key: tuple[int, ...] = ()


class Decoded(NamedTuple):
    """Pixels, uint8 of shape (3, side, side), or None with the reason why the image cannot be decoded."""

    pixels: np.ndarray | None
    fault: str


def decoded(content: bytes | Path, view: View) -> Decoded:
    """Decode the view of an image, in colour."""
    try:
        raw = content.read_bytes() if isinstance(content, Path) else content
        with Image.open(io.BytesIO(raw)) as image:
            width, height = image.size
            box = seen_box(width, height, view)
            _decode_small(image, box, view.side)
            across, down = image.width / width, image.height / height
            box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
            seen = image.convert("RGB").resize((view.side, view.side), Image.Resampling.BILINEAR, box)
    # Pillow's decoders may raise anything for a damaged file.
    except Exception as error:
        return Decoded(None, f"{type(error).__name__}: {error}"[:LONGEST_FAULT])
    return Decoded(np.moveaxis(np.asarray(seen), 2, 0), "")


def seen_box(width: int, height: int, view: View) -> Box:
    """Return (left, upper, right, lower) in pixels of what a view shows of an image of this size.

    >>> seen_box(300, 200, View(100))
    (50.0, 0.0, 250.0, 200.0)
    """
    if view.least_area < 1:
        return _random_box(width, height, view)
    side = min(width, height) / view.margin
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def _random_box(width: int, height: int, view: View) -> Box:
    random = np.random.default_rng(view.key)
    for _ in range(CROPS_TRIED):
        area = random.uniform(view.least_area, 1) * width * height
        aspect = math.exp(random.uniform(math.log(NARROWEST), math.log(WIDEST)))
        crop_width, crop_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        left, upper = random.uniform() * (width - crop_width), random.uniform() * (height - crop_height)
        if crop_width <= width and crop_height <= height:
            return left, upper, left + crop_width, upper + crop_height
    return seen_box(width, height, View(view.side))


def _decode_small(image: Image.Image, box: Box, side: int) -> None:
    """Let a JPEG be decoded at a reduced size (a power of 2 smaller) that is still larger than what is seen of it."""
    enough = DRAFT_OVER_SIDE * side / min(box[2] - box[0], box[3] - box[1])
    image.draft("RGB", (math.ceil(image.width * enough), math.ceil(image.height * enough)))
