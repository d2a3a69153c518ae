"""Folders of images: their classes, their splits, and what of them is left out."""

from pathlib import Path

import pytest

from image_data_sets import write_folder
from steadydecay.recipes.vit.image_files import read_image_folder


def test_a_folder_splits_by_the_name_of_each_file_wherever_it_stands(tmp_path: Path) -> None:
    first, second = (read_image_folder(write_folder(tmp_path / name, ["cat", "dog"], 30)) for name in ("here", "there"))
    assert first.classes == ("cat", "dog")
    for split in ("train", "validation"):
        one, other = (
            [(path.relative_to(tmp_path / name).as_posix(), label) for path, label in getattr(found, split).files]
            for found, name in ((first, "here"), (second, "there"))
        )
        assert one == other and one == sorted(one) and all(label == (name[:3] == "dog") for name, label in one)
    names = {path for path, _ in (*first.train.files, *first.validation.files)}
    assert len(names) == len(first.train) + len(first.validation) == 60
    assert 3 <= len(first.validation) <= 25


def test_train_and_val_are_splits_of_their_own_and_agree_on_the_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["ant", "bee", "cat"], 3)
    write_folder(tmp_path / "val", ["cat", "bee"], 2)
    found = read_image_folder(tmp_path)
    assert found.classes == ("ant", "bee", "cat")
    assert {path.parent.name: label for path, label in found.train.files} == {"ant": 0, "bee": 1, "cat": 2}
    assert {path.parent.name: label for path, label in found.validation.files} == {"bee": 1, "cat": 2}


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", ["a", "b"], 20)
    (folder / "README.md").write_text("x")
    (folder / "a" / "notes.txt").write_text("x")
    (folder / "empty").mkdir()
    (folder / ".git").mkdir()
    with pytest.warns(UserWarning) as caught:
        found = read_image_folder(folder)
    (message,) = {str(one.message) for one in caught}
    for part in (
        "1 hidden: .git",
        "outside any class folder: README.md",
        "a/notes.txt",
        "without an image inside: empty",
    ):
        assert part in message
    assert len(found.train) + len(found.validation) == 40


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "contains no folder with an image; it must be a folder with one folder of images for each class"),
        (["only"], "contains images of only one class, 'only', but there must be at least two"),
    ],
)
def test_a_folder_without_two_classes_is_refused(tmp_path: Path, classes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_image_folder(write_folder(tmp_path, classes, 3))
    for split in ("train", "val"):
        write_folder(tmp_path / "both" / split, classes, 3)
        (tmp_path / "both" / split).mkdir(parents=True, exist_ok=True)
    with pytest.raises(ValueError, match=message):
        read_image_folder(tmp_path / "both")


def test_a_class_that_is_not_trained_on_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a", "b"], 2)
    write_folder(tmp_path / "validation", ["a", "c"], 2)
    with pytest.raises(ValueError, match=r"validation has the class 'c', but .*train does not"):
        read_image_folder(tmp_path)


def test_too_few_images_to_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"splits by the names of its 2 images into 2 for training and 0 for"):
        read_image_folder(write_folder(tmp_path, ["a", "c"], 1))


@pytest.mark.parametrize(("train", "validation"), [("Train", "Val"), ("training", "testing"), ("train", "dev")])
def test_splits_are_known_by_their_usual_names_in_any_case(tmp_path: Path, train: str, validation: str) -> None:
    write_folder(tmp_path / train, ["a", "b"], 3)
    write_folder(tmp_path / validation, ["a", "b"], 2)
    found = read_image_folder(tmp_path)
    assert (found.classes, len(found.train), len(found.validation)) == (("a", "b"), 6, 4)


def test_a_training_folder_alone_is_split_and_what_stands_beside_it_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a", "b"], 20)
    write_folder(tmp_path / "other", ["a", "b"], 1)
    with pytest.warns(UserWarning, match="1 beside the training folder: other"):
        found = read_image_folder(tmp_path)
    assert found.classes == ("a", "b") and len(found.train) + len(found.validation) == 40


def test_train_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    found = read_image_folder(write_folder(tmp_path, ["bus", "train"], 20))
    assert found.classes == ("bus", "train")


def test_a_validation_folder_without_classes_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a", "b"], 3)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="outside any class folder: 1.png"),
        pytest.raises(ValueError, match="test has no class folder with an image, so there is nothing to validate with"),
    ):
        read_image_folder(tmp_path)
