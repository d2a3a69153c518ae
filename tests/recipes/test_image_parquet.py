"""Parquet in the layout of ImageNet-1k: columns, splits, order of training, and files that are broken."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_data_sets import coloured, encoded, write_parquet
from steadydecay.recipes.vit import image_parquet
from steadydecay.recipes.vit.image_parquet import ParquetSource, parquet_files, read_parquet

LABELS = [number % 3 for number in range(70)]


def test_files_are_splits_by_their_names_and_rows_keep_their_images(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data/train-00000-of-00002.parquet", LABELS[:40])
    write_parquet(tmp_path / "data/train-00001-of-00002.parquet", LABELS[40:])
    write_parquet(tmp_path / "data/validation-00000-of-00001.parquet", LABELS[:7])
    # ImageNet's test rows have the label -1.
    write_parquet(tmp_path / "data/test-00000-of-00001.parquet", [-1] * 5)
    found = read_parquet("set", parquet_files(tmp_path), None)
    assert (len(found.train), len(found.validation), found.classes) == (70, 7, 3)
    rows = found.train.read([0, 39, 40, 69, 12])
    numbers = (0, 39, 0, 29, 12)
    expected = [encoded(coloured(LABELS[i], n)) for i, n in zip((0, 39, 40, 69, 12), numbers, strict=True)]
    assert [one.content for one in rows] == expected
    assert [one.label for one in rows] == [LABELS[index] for index in (0, 39, 40, 69, 12)]
    assert "row 9 of row group 3" in rows[1].name and "train-00001" in rows[2].name


def test_one_file_splits_by_row_without_a_common_image(tmp_path: Path) -> None:
    found = read_parquet("set", [write_parquet(tmp_path / "all.parquet", LABELS)], None)
    contents = [{one.content for one in split.read(range(len(split)))} for split in (found.train, found.validation)]
    assert not contents[0] & contents[1]
    assert contents[0] | contents[1] == {encoded(coloured(label, number)) for number, label in enumerate(LABELS)}
    assert 5 <= len(contents[1]) <= 25
    by_content = {encoded(coloured(label, number)): label for number, label in enumerate(LABELS)}
    for split in (found.train, found.validation):
        assert all(by_content[one.content] == one.label for one in split.read(range(len(split))))  # type: ignore[index]


@pytest.fixture
def in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParquetSource:
    monkeypatch.setattr(image_parquet, "WINDOW_ROWS", 20)
    write_parquet(tmp_path / "train.parquet", LABELS)
    return read_parquet(
        "set", [tmp_path / "train.parquet", write_parquet(tmp_path / "val.parquet", LABELS)], None
    ).train


def test_each_row_comes_once_in_an_epoch_and_few_row_groups_are_open_at_once(in_windows: ParquetSource) -> None:
    for epoch in (0, 1, 5):
        order = [in_windows.training_order(epoch * 70 + row, seed=3) for row in range(70)]
        assert sorted(order) == list(range(70))
        for window in range(0, 60, 20):
            groups = {index // 10 for index in order[window : window + 20]}
            assert len(groups) == 2, "a window is two row groups of ten, shuffled together"
    first, second, other = (
        [in_windows.training_order(start + row, seed=seed) for row in range(70)]
        for start, seed in ((0, 3), (70, 3), (0, 4))
    )
    assert first != second and first != other


def test_no_more_than_two_windows_are_kept(in_windows: ParquetSource) -> None:
    for start in range(0, 70, 5):
        indices = [in_windows.training_order(start + row, seed=0) for row in range(5)]
        in_windows.read(indices)
        assert sum(len(in_windows.groups[place].kept) for place in in_windows._images_of) <= 40


def test_hugging_face_s_number_of_classes_is_taken_and_the_labels_held_to_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 of 5 classes have no image; the first is 3"):
        found = read_parquet("set", [write_parquet(tmp_path / "a.parquet", LABELS, classes=5)], None)
    assert found.classes == 5
    with pytest.raises(ValueError, match=r"labels of set contain 2 at place 2; they must be in \[0, 2\)"):
        read_parquet("set", [write_parquet(tmp_path / "b.parquet", LABELS, classes=2)], None)


@pytest.mark.parametrize("share", [0.3, 0.98])
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = write_parquet(tmp_path / "cut.parquet", LABELS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError, match=r"cut\.parquet is not a complete parquet file .*; download it or write it again"
    ):
        read_parquet("set", [path], None)


def test_a_row_group_that_is_broken_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", LABELS)
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    found = read_parquet("set", [path], None)
    with pytest.raises(ValueError, match=r"row group 0 of .*a\.parquet cannot be read \(.*\); download the file again"):
        found.train.read([0])


def table(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), folder / "a.parquet")  # type: ignore[arg-type]
    return folder / "a.parquet"


def test_columns_that_are_no_images_and_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"has the columns text, label; it must have a column image of \{bytes, path\}"
    ):
        read_parquet("set", [table(tmp_path, text=["a"], label=[0])], None)
    with pytest.raises(ValueError, match="has the column image of type string"):
        read_parquet("set", [table(tmp_path, image=["a"], label=[0])], None)
    with pytest.raises(ValueError, match="labels of set have the dtype float64; they must be integers"):
        read_parquet("set", [table(tmp_path, image=[b"a", b"b"], label=[0.0, 1.5])], None)
    with pytest.raises(ValueError, match="lack 1 values"):
        read_parquet("set", [table(tmp_path, image=[b"a", b"b"], label=[0, None])], None)
    with pytest.raises(ValueError, match="set has no rows"):
        read_parquet("set", [table(tmp_path, image=pa.array([], pa.binary()), label=pa.array([], pa.int64()))], None)


def test_an_image_without_bytes_is_left_to_the_decoder(tmp_path: Path) -> None:
    images = [{"bytes": b"x", "path": None}, {"bytes": None, "path": "elsewhere.jpg"}] * 10
    found = read_parquet("set", [table(tmp_path, image=images, label=[0, 1] * 10)], None)
    assert {one.content for one in found.train.read(range(len(found.train)))} == {b"x", b""}
    assert found.train.labels.dtype == np.int64
