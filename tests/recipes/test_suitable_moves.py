"""What the data say of a change: digits must not be mirrored, symmetric patterns may, gratings must not be turned."""

import math

import pytest
import torch
from torch import Tensor

from steadydecay.recipes.vit.image_arrays import digits
from steadydecay.recipes.vit.suitable_moves import _shrunk, suitable_moves


def as_bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).to(torch.uint8)


def blobs(count: int, side: int = 16, symmetric: bool = True) -> tuple[Tensor, Tensor]:
    """Noise around one pattern for each of 6 classes, whose mirror image is the same pattern or another."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.nn.functional.interpolate(torch.rand(6, 1, 4, 4, generator=generator), side)
    patterns = (patterns + patterns.flip(3)) / 2 if symmetric else patterns
    labels = torch.randint(6, (count,), generator=generator)
    return as_bytes(patterns[labels] + 0.1 * torch.randn(count, 1, side, side, generator=generator)), labels


def gratings(count: int, classes: int, side: int = 24) -> tuple[Tensor, Tensor]:
    """Stripes whose direction is their class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=generator)
    angle = labels[:, None, None] * math.pi / classes
    y, x = torch.meshgrid(torch.arange(side) - side / 2, torch.arange(side) - side / 2, indexing="ij")
    waves = 0.5 + 0.4 * torch.cos(0.9 * (x * angle.cos() + y * angle.sin()))
    return as_bytes(waves[:, None] + 0.05 * torch.randn(count, 1, side, side, generator=generator)), labels


def test_digits_move_a_little_and_are_not_mirrored() -> None:
    train, _ = digits()
    found = suitable_moves(train.images, train.labels)
    assert (found.turn, found.zoom, found.shift, found.flip) == (8.0, 0.08, 1 / 16, False)


@pytest.mark.parametrize("symmetric", [True, False])
def test_patterns_are_mirrored_where_that_keeps_them(symmetric: bool) -> None:
    assert suitable_moves(*blobs(400, symmetric=symmetric)).flip == symmetric


def test_stripes_whose_direction_is_their_class_are_not_turned() -> None:
    assert suitable_moves(*gratings(400, 4)).turn > 0
    assert suitable_moves(*gratings(800, 24)).turn == 0


def test_where_the_nearest_image_says_nothing_images_are_not_mirrored() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (300, 1, 8, 8), generator=generator, dtype=torch.uint8)
    found = suitable_moves(noise, torch.randint(5, (300,), generator=generator))
    assert found.turn and found.zoom and found.shift and not found.flip
    assert suitable_moves(noise[:2], torch.tensor([0, 1])).flip is False


def test_torch_s_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    suitable_moves(*blobs(50))
    assert torch.equal(torch.get_rng_state(), before)


def test_large_images_are_judged_at_a_small_size() -> None:
    """Oblong ones, too, which keep their shape: a turn is one of pixels."""
    images, labels = gratings(200, 4)
    large = torch.nn.functional.interpolate(images.float(), (96, 192), mode="bilinear").to(torch.uint8)
    assert _shrunk(large).shape == (200, 1, 32, 64)
    assert torch.equal(_shrunk(images), images / 255)
    assert suitable_moves(large, labels) == suitable_moves(images, labels)
