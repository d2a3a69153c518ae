"""What a path names as images, and what is known of them afterwards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from image_data_sets import write_folder, write_parquet
from steadydecay.recipes.vit.augmentation import RandAugmentMixup, SmallMoves, Unchanged
from steadydecay.recipes.vit.image_data import ImagesInMemory
from steadydecay.recipes.vit.image_stream import ImageStream
from steadydecay.recipes.vit.load_images import Wishes, load_images


def npz(folder: Path, channels: int = 3, classes: int = 4) -> Path:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (80, 6, 9, channels), dtype=np.uint8)
    images[..., -1] = 7
    np.savez(folder / "a.npz", images=images, labels=np.arange(80) % classes)
    return folder / "a.npz"


def test_the_digits_are_what_comes_with_the_recipe() -> None:
    data = load_images(None, Wishes("none"))
    assert (data.name, data.image, data.classes) == ("digits", (1, 8, 8), 10)
    assert isinstance(data.augmentation, Unchanged)


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    data = load_images(str(npz(tmp_path)), Wishes("none"))
    assert isinstance(data.train, ImagesInMemory)
    pixels = data.train.images.double() / 255
    torch.testing.assert_close(data.mean.double(), pixels.mean((0, 2, 3)), atol=1e-6, rtol=0)
    expected = pixels.std((0, 2, 3), correction=0)
    expected[2] = 1.0
    torch.testing.assert_close(data.std.double(), expected, atol=1e-6, rtol=0)
    assert (data.image, data.classes) == ((3, 6, 9), 4)


def test_each_image_is_trained_on_once_in_an_epoch(tmp_path: Path) -> None:
    data = load_images(str(npz(tmp_path)), Wishes("none"))
    count = len(data.train)
    batches = [data.train.training_batch([range(k, k + 1)], seed=1)[0] for k in range(count)]
    assert len({one.numpy().tobytes() for one in batches}) == count


@pytest.mark.parametrize(("name", "flip"), [("moves", False), ("moves_and_flips", True)])
def test_an_augmentation_may_be_asked_for(tmp_path: Path, name: str, flip: bool) -> None:
    found = load_images(str(npz(tmp_path)), Wishes(name)).augmentation
    assert isinstance(found, SmallMoves) and found.flip == flip and found.turn > 0


def test_files_are_decoded_at_once_or_as_they_are_needed(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "set", ["a", "b"], 12))
    at_once = load_images(folder, Wishes("auto", image_size=8))
    assert isinstance(at_once.train, ImagesInMemory) and at_once.image == (3, 8, 8)
    streamed = load_images(folder, Wishes("photographs", image_size=8))
    assert isinstance(streamed.train, ImageStream) and isinstance(streamed.augmentation, RandAugmentMixup)
    assert (len(streamed.train), streamed.classes, streamed.image) == (len(at_once.train), 2, (3, 8, 8))
    assert streamed.mean.tolist() == streamed.std.tolist() == [0.5] * 3


def test_parquet_is_a_file_or_a_folder(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "all.parquet", [number % 2 for number in range(20)])
    for name in (path, tmp_path):
        data = load_images(str(name), Wishes("none"))
        assert (len(data.train) + len(data.validation), data.classes, data.image) == (20, 2, (3, 32, 32))


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ValueError, "^data is '', perhaps because a shell variable is not set"),
        ("nowhere", FileNotFoundError, "^data is 'nowhere', which does not exist. Give an .npz"),
        ("notes.txt", ValueError, r"^data is 'notes.txt', which is neither an .npz nor a .parquet file"),
        ("empty", ValueError, "^empty contains no folder with an image"),
    ],
)
def test_what_is_no_data_is_refused(
    path: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("x")
    Path("empty").mkdir()
    with pytest.raises(error, match=message):
        load_images(path, Wishes("auto"))


def test_an_unknown_augmentation_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"^augmentation is 'photograph'; did you mean 'photographs'\?"):
        load_images("nowhere", Wishes("photograph"))


def test_photographs_are_cropped_from_files_alone(tmp_path: Path) -> None:
    message = r"^augmentation is 'photographs', .* for the arrays of .*a\.npz it must be one of auto, none, moves, "
    with pytest.raises(ValueError, match=message):
        load_images(str(npz(tmp_path)), Wishes("photographs"))


@pytest.mark.parametrize(("package", "augmentation"), [("pyarrow", "none"), ("PIL", "none"), ("kornia", "photographs")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    package: str, augmentation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "all.parquet", [0, 1] * 10)
    for name in [name for name in sys.modules if name.startswith(("steadydecay.recipes.vit.image_", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "steadydecay.recipes.vit.decoding", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"which needs {package}.*; install steadydecay\[vit\]"):
        load_images(str(path), Wishes(augmentation))


def test_a_gpt_needs_nothing_of_the_extra() -> None:
    packages = {"PIL", "pyarrow", "kornia", "sklearn"}
    code = f"import sys, steadydecay.recipes.named_recipes; print(sys.modules.keys() & {packages})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"
