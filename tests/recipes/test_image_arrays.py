"""Images in arrays: every shape and type that is legal, every other in words, and a split without a common image."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steadydecay.recipes.vit.image_arrays import digits, read_npz, split_by_hash
from steadydecay.recipes.vit.image_data import ImagesInMemory


def images(count: int = 60, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *(shape or (5, 7, 3))), dtype=np.uint8)


def labels(count: int = 60, classes: int = 3) -> np.ndarray:
    return np.arange(count) % classes


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def test_the_digits_are_there_in_full() -> None:
    train, validation = digits()
    assert train.images.shape[1:] == (1, 8, 8) and len(train) + len(validation) == 1797
    assert (len(train), len(validation)) == (1443, 354), "pinned: a change would mix training and validation images"
    assert train.images.dtype == torch.uint8 and int(train.images.max()) == 255
    assert set(train.labels.tolist()) == set(validation.labels.tolist()) == set(range(10))


def test_arrays_keep_their_pixels_and_labels_and_channels_come_first(tmp_path: Path) -> None:
    pixels = images()
    train, validation = read_npz(saved(tmp_path, images=pixels, labels=labels()), None)
    pairs = [pair for part in (train, validation) for pair in zip(part.images, part.labels.tolist(), strict=True)]
    found = {image.numpy().tobytes(): label for image, label in pairs}
    assert len(found) == 60 and 0 < len(validation) < 30
    for image, label in zip(pixels, labels(), strict=True):
        assert found[np.moveaxis(image, -1, 0).tobytes()] == label


def test_an_image_that_is_there_twice_is_on_one_side() -> None:
    pixels = torch.from_numpy(images(50, 1, 4, 4)).repeat(2, 1, 1, 1)
    train, validation = split_by_hash(ImagesInMemory(pixels, torch.zeros(100, dtype=torch.int64)))
    sides = [{one.numpy().tobytes() for one in part.images} for part in (train, validation)]
    assert not sides[0] & sides[1] and len(train) + len(validation) == 100


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int64, np.float32, np.float64])
def test_every_type_of_0_to_255_is_legal(tmp_path: Path, dtype: type) -> None:
    pixels = images(60, 4, 4)
    train, _ = read_npz(saved(tmp_path, images=pixels.astype(dtype), labels=labels().astype(np.uint8)), None)
    expected, _ = read_npz(saved(tmp_path, images=pixels, labels=labels()), None)
    assert train.images.shape[1:] == (1, 4, 4) and torch.equal(train.images, expected.images)


def test_a_validation_split_of_one_s_own_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, images=images(30), labels=labels(30), val_images=images(7), val_labels=labels(7))
    train, validation = read_npz(path, None)
    assert (len(train), len(validation)) == (30, 7)
    assert validation.labels.tolist() == labels(7).tolist()


BAD = {
    "no images": ({"labels": labels()}, r"contains labels, but no images; it must be an \.npz with images"),
    "no labels": ({"images": images()}, r"contains images, but no labels"),
    "half a validation split": ({"images": images(), "labels": labels(), "val_images": images()}, "one of val_images"),
    "two axes": ({"images": images(60, 9), "labels": labels()}, r"have the shape \(60, 9\); it must be \(n, h, w\)"),
    "channels first": ({"images": images(60, 3, 32, 32), "labels": labels()}, "have 32 channels.*np.moveaxis"),
    "a line": ({"images": images(60, 1, 9), "labels": labels()}, "are 1 × 9; each side must have at least 2 pixels"),
    "no image": ({"images": images(0), "labels": labels(0)}, r"have the shape \(0, 5, 7, 3\), which contains no image"),
    "too bright": (
        {"images": images().astype(int) + 1, "labels": labels()},
        r"range from 1 to 256; they must be in 0…255",
    ),
    "negative": ({"images": images().astype(int) - 1, "labels": labels()}, r"range from -1 to 254"),
    "NaN": ({"images": images() * np.nan, "labels": labels()}, r"range from nan to nan; they must be in 0…255"),
    "0…1": (
        {"images": images() / 255, "labels": labels()},
        r"are floats up to 1; they must be in 0…255: multiply .* by 255",
    ),
    "booleans": (
        {"images": images() > 9, "labels": labels()},
        "have the dtype bool; they must be whole numbers or floats",
    ),
    "texts": ({"images": images().astype(str), "labels": labels()}, "have the dtype <U3; they must be whole"),
    "too few labels": (
        {"images": images(), "labels": labels(59)},
        r"labels of .* have the shape \(59,\); it must be \(60,\)",
    ),
    "one-hot labels": ({"images": images(), "labels": np.eye(60)}, r"have the shape \(60, 60\); it must be \(60,\)"),
    "float labels": (
        {"images": images(), "labels": labels() * 1.0},
        r"dtype float64; they must be integers.*astype\(int\)",
    ),
    "negative labels": (
        {"images": images(), "labels": labels() - 1},
        r"contain -1 at place 0; they must be 0 or larger",
    ),
    "one class": (
        {"images": images(), "labels": labels() * 0},
        r"contain only one class, 0; there must be at least two",
    ),
    "names for numbers": ({"images": images(), "labels": labels() * 1000}, r"2,001 classes for 60 images"),
    "other sizes": (
        {"images": images(), "labels": labels(), "val_images": images(9, 5, 6, 3), "val_labels": labels(9)},
        "val_images of .* are 5 × 6 × 3, but images are 5 × 7 × 3",
    ),
    "unknown class": (
        {"images": images(), "labels": labels(), "val_images": images(9), "val_labels": labels(9, 4)},
        r"val_labels of .* contain 3 at place 3; they must be in \[0, 3\)",
    ),
    "alike": ({"images": images(60) * 0, "labels": labels()}, "split by their hashes into (0|60) for training and"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_on_is_refused_in_words(case: str, tmp_path: Path) -> None:
    arrays, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        read_npz(saved(tmp_path, **arrays), None)


def test_an_array_of_objects_is_never_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, images=np.array([{}, {}], dtype=object), labels=labels(2))
    with pytest.raises(ValueError, match="array of objects, which is never loaded; make it an array of numbers"):
        read_npz(path, None)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    whole = saved(tmp_path, images=images(), labels=labels()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.npz cannot be read .*it must be an \.npz"):
        read_npz(tmp_path / "cut.npz", None)


def test_a_file_whose_content_has_changed_is_refused(tmp_path: Path) -> None:
    content = bytearray(saved(tmp_path, images=images(), labels=labels()).read_bytes())
    content[3000] ^= 0xFF
    (tmp_path / "changed.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"changed\.npz cannot be read"):
        read_npz(tmp_path / "changed.npz", None)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, images())
    (tmp_path / "one.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"single array of shape \(60, 5, 7, 3\); save it with np\.savez"):
        read_npz(tmp_path / "one.npz", None)


def test_the_number_of_classes_may_be_said(tmp_path: Path) -> None:
    path = saved(tmp_path, images=images(), labels=labels())
    with pytest.warns(UserWarning, match="1 of 4 classes have no image; the first is 3"):
        read_npz(path, 4)
    with pytest.raises(ValueError, match=r"contain 2 at place 2; they must be in \[0, 2\)"):
        read_npz(path, 2)


def test_other_arrays_of_the_file_may_be_of_any_kind(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", None], dtype=object)
    train, validation = read_npz(saved(tmp_path, images=images(), labels=labels(), names=names), None)
    assert len(train) + len(validation) == 60


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("images.npy", b"no array")
        file.writestr("labels.npy", b"no array")
    with pytest.raises(ValueError, match=r"images in it is not an array; save it with np\.savez"):
        read_npz(tmp_path / "a.npz", None)
