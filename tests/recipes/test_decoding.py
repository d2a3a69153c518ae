"""One image to pixels: which part of it is seen, at any size, in colour, and what is broken."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_data_sets import coloured, encoded
from steadydecay.recipes.vit.decoding import View, decoded, seen_box


def gradient(width: int, height: int) -> Image.Image:
    """Red tells the column, green the row."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, 0 * red], axis=2).astype(np.uint8))


def test_the_centre_crop_is_the_largest_square_less_its_margin() -> None:
    assert seen_box(300, 200, View(50)) == (50, 0, 250, 200)
    assert seen_box(200, 400, View(50)) == (0, 100, 200, 300)
    left, upper, right, lower = seen_box(256, 256, View(224, margin=256 / 224))
    assert (left, upper, right, lower) == pytest.approx((16, 16, 240, 240))


def test_random_crops_lie_inside_cover_the_range_and_follow_their_key() -> None:
    areas, aspects = [], []
    for number in range(300):
        view = View(8, least_area=0.05, key=(7, number))
        left, upper, right, lower = seen_box(300, 200, view)
        assert 0 <= left < right <= 300 and 0 <= upper < lower <= 200
        assert seen_box(300, 200, view) == (left, upper, right, lower)
        areas.append((right - left) * (lower - upper) / 60_000)
        aspects.append((right - left) / (lower - upper))
    assert min(areas) >= 0.05 - 1e-9 and min(areas) < 0.1 and max(areas) > 0.8
    assert min(aspects) >= 3 / 4 - 1e-9 and max(aspects) <= 4 / 3 + 1e-9
    assert np.std(areas) > 0.2


def test_a_long_image_in_which_no_crop_fits_is_seen_in_its_middle() -> None:
    assert seen_box(1000, 10, View(8, least_area=0.9, key=(0,))) == (495, 0, 505, 10)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(64, 64), (640, 480), (9, 31)])
def test_pixels_are_those_of_the_box_at_any_size(kind: str, size: tuple[int, int]) -> None:
    width, height = size
    pixels, fault = decoded(encoded(gradient(width, height), kind), View(16))
    assert pixels is not None and not fault and pixels.shape == (3, 16, 16) and pixels.dtype == np.uint8
    left, upper, right, lower = seen_box(width, height, View(16))
    centres = (np.arange(16) + 0.5) / 16
    red = (left + centres * (right - left)) / width * 255
    green = (upper + centres * (lower - upper)) / height * 255
    assert np.abs(pixels[0].mean(0) - red).max() < 20 and np.abs(pixels[1].mean(1) - green).max() < 20


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_colour(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (12, 12)).save(buffer, "TIFF")
    pixels, fault = decoded(buffer.getvalue(), View(8))
    assert fault == "" and pixels is not None and pixels.shape == (3, 8, 8)


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(encoded(coloured(1, 0), "PNG"))
    pixels, _ = decoded(tmp_path / "one.png", View(8))
    assert pixels is not None and pixels[1].mean() > 150 > 100 > pixels[0].mean()


@pytest.mark.parametrize("content", [b"", b"no image", encoded(coloured(0, 0))[:300], Path("/nowhere/at/all.png")])
def test_what_is_broken_has_a_reason(content: bytes | Path) -> None:
    pixels, fault = decoded(content, View(8))
    assert pixels is None and 0 < len(fault) <= 120


@pytest.mark.parametrize("kind", ["16 bits", "transparent", "transparent and grey"])
def test_an_image_is_seen_as_people_see_it(kind: str) -> None:
    """A ramp from black to white: 16 bits are not clipped, and black that fades out is seen on white."""
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    images = {
        "16 bits": Image.fromarray(grey.astype(np.uint16) * 257),
        "transparent": Image.fromarray(np.stack([0 * grey] * 3 + [255 - grey], axis=2)),
        "transparent and grey": Image.fromarray(np.stack([0 * grey, 255 - grey], axis=2), "LA"),
    }
    pixels, fault = decoded(encoded(images[kind], "PNG"), View(32))
    assert not fault and pixels is not None and np.abs(pixels.astype(int) - grey).max() <= 1


def test_pixels_without_a_known_range_are_refused() -> None:
    pixels, fault = decoded(encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), View(8))
    assert pixels is None and "mode 'F' have no range that is known; save it with 8 or 16 bits" in fault


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", "it is empty"), (b"text", "it is not an image of a known format")]
)
def test_what_is_no_image_is_said_without_an_address(content: bytes, fault: str) -> None:
    assert decoded(content, View(8)) == (None, fault)
