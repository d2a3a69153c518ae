"""Images in parquet files as Hugging Face stores them (ImageNet-1k): a column of {bytes, path} and one of labels."""

import hashlib
import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow
import pyarrow.parquet

from steadydecay.recipes.epoch_order import shuffled
from steadydecay.recipes.vit.encoded_image import Encoded
from steadydecay.recipes.vit.image_labels import checked_labels

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
TRAIN_NAMES = ("train",)
VALIDATION_NAMES = ("val", "test")
VALIDATION_ONE_IN = 5
# Images are shuffled within as many row groups as contain this number: about 0.4 GB of ImageNet, read once per epoch.
WINDOW_ROWS = 4_096
WANTED = "a column image of {bytes, path} or of bytes, and a column label of integers, as in ImageNet-1k"


class RowGroup(NamedTuple):
    """Rows that are read together.

    Attributes:
        path: The file.
        number: The number of the row group in the file.
        kept: The numbers of its rows that belong to the split, of shape (n,).
    """

    path: Path
    number: int
    kept: np.ndarray


class Columns(NamedTuple):
    """The names of a file's columns, and the number of classes that it declares, or None."""

    image: str
    label: str
    classes: int | None


@final
class ParquetSource:
    """Rows of parquet files, read by row group. Both the windows of row groups and the rows in them are shuffled.

    Args:
        name: A name for messages.
        groups: The row groups in a fixed order.
        columns: The columns of every file.
        labels: The label of every row.
    """

    def __init__(self, name: str, groups: Sequence[RowGroup], columns: Columns, labels: np.ndarray) -> None:
        self.name, self.groups, self.columns, self.labels = name, tuple(groups), columns, labels
        self._ends = list(accumulate(len(group.kept) for group in groups))
        self._images_of: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._order_of_epoch = lru_cache(maxsize=2)(self._windows)

    def __len__(self) -> int:
        return len(self.labels)

    def training_order(self, sequence: int, seed: int) -> int:
        epoch, position = divmod(sequence, len(self))
        ends, windows = self._order_of_epoch(seed, epoch)
        number = bisect_right(ends, position)
        groups = windows[number]
        rows = sum(len(self.groups[group].kept) for group in groups)
        within = position - (ends[number - 1] if number else 0)
        row = shuffled(within, rows, _hashed(seed, epoch, number))
        for group in groups:
            if row < len(self.groups[group].kept):
                return self._ends[group] - len(self.groups[group].kept) + row
            row -= len(self.groups[group].kept)
        raise AssertionError("a row beyond its window")

    def read(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images of these rows.

        Raises:
            ValueError: A row group cannot be read.
        """
        places = [bisect_right(self._ends, index) for index in indices]
        with self._lock:
            images = {place: self._group_images(place) for place in dict.fromkeys(places)}
            self._forget_but(set(places))
        rows = [self._row(index, place) for index, place in zip(indices, places, strict=True)]
        return [
            Encoded(f"row {row} of row group {self.groups[place].number} of {self.groups[place].path}", content, label)
            for place, row, label in zip(places, rows, self.labels[list(indices)].tolist(), strict=True)
            for content in [_content(images[place][row].as_py())]
        ]

    def _row(self, index: int, place: int) -> int:
        kept = self.groups[place].kept
        return int(kept[index - (self._ends[place] - len(kept))])

    def _windows(self, seed: int, epoch: int) -> tuple[list[int], list[tuple[int, ...]]]:
        """Return the row groups in the order of an epoch, in windows, and where each window ends in the epoch."""
        order = sorted(range(len(self.groups)), key=lambda group: _hashed(seed, epoch, -1, group))
        windows, current, rows = [], [], 0
        for group in order:
            current.append(group)
            rows += len(self.groups[group].kept)
            if rows >= WINDOW_ROWS:
                windows.append(tuple(current))
                current, rows = [], 0
        windows += [tuple(current)] if current else []
        return list(accumulate(sum(len(self.groups[group].kept) for group in one) for one in windows)), windows

    def _group_images(self, place: int) -> Any:
        if place not in self._images_of:
            self._images_of[place] = _read_images(self.groups[place], self.columns.image)
        self._images_of.move_to_end(place)
        return self._images_of[place]

    def _forget_but(self, used: set[int]) -> None:
        # A batch may extend from the end of one window into the next.
        held = sum(len(self.groups[place].kept) for place in self._images_of)
        for place in list(self._images_of):
            if held <= 2 * WINDOW_ROWS or place in used:
                return
            held -= len(self.groups[place].kept)
            del self._images_of[place]


class ParquetSplits(NamedTuple):
    """Training and validation rows, and their number of classes."""

    train: ParquetSource
    validation: ParquetSource
    classes: int


def parquet_files(folder: Path) -> list[Path]:
    """List the parquet files of a folder, or of its subfolder data, in order."""
    return sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))


def read_parquet(name: str, paths: Sequence[Path], classes: int | None) -> ParquetSplits:
    """Read training and validation rows of parquet files.

    Files whose names begin with val are for validation or, without such files, those that begin with test. Without
    either, one row in five is, by the hash of its number.

    Args:
        name: The name of the data, for messages.
        paths: At least one file.
        classes: The number of classes. None takes it from the files' metadata or, without that, from the labels.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged, lacks a column or has no rows, or a label is outside its range.
    """
    validation = next(
        (found for start in VALIDATION_NAMES if (found := [one for one in paths if one.name.startswith(start)])), []
    )
    if not validation or len(validation) == len(paths):
        return _split_by_row(name, paths, classes)
    train = [one for one in paths if one.name.startswith(TRAIN_NAMES)]
    train = train or [one for one in paths if not one.name.startswith(VALIDATION_NAMES)]
    trained_on = _source(f"the training split of {name}", train, classes, alone=True)
    count = _class_count(trained_on, classes)
    return ParquetSplits(trained_on, _source(f"the validation split of {name}", validation, count, alone=False), count)


def _split_by_row(name: str, paths: Sequence[Path], classes: int | None) -> ParquetSplits:
    whole = _source(name, paths, classes, alone=True)
    is_validation = np.array([_hashed(row) % VALIDATION_ONE_IN == 0 for row in range(len(whole))])
    if is_validation.all() or not is_validation.any():
        raise ValueError(
            f"{name} has {len(whole)} rows, too few to split into training and validation; give more, or files that "
            "begin with train and with val"
        )
    train, validation = (
        ParquetSource(f"the {split} split of {name}", _kept(whole.groups, chosen), whole.columns, whole.labels[chosen])
        for split, chosen in (("training", ~is_validation), ("validation", is_validation))
    )
    return ParquetSplits(train, validation, _class_count(whole, classes))


def _kept(groups: Sequence[RowGroup], chosen: np.ndarray) -> list[RowGroup]:
    """Return the row groups with those of their rows that are chosen; `chosen` counts all rows in order."""
    starts = accumulate((len(group.kept) for group in groups), initial=0)
    found = [
        group._replace(kept=group.kept[chosen[start : start + len(group.kept)]])
        for group, start in zip(groups, starts, strict=False)
    ]
    return [group for group in found if len(group.kept)]


def _class_count(source: ParquetSource, classes: int | None) -> int:
    return classes or source.columns.classes or int(source.labels.max()) + 1


def _source(name: str, paths: Sequence[Path], classes: int | None, *, alone: bool) -> ParquetSource:
    groups, labels, columns = [], [], None
    for path in paths:
        found, of_file, own = _read_labels(path)
        columns = columns or own
        if own[:2] != columns[:2]:
            raise ValueError(
                f"{path} has the columns {own[0]}, {own[1]}, but {paths[0]} has {columns[0]}, {columns[1]}; "
                "all files must have the same columns"
            )
        groups += found
        labels.append(of_file)
    assert columns is not None
    together = np.concatenate(labels)
    if not len(together):
        raise ValueError(f"{name} has no rows; it must have at least one")
    known = classes if classes is not None else columns.classes
    return ParquetSource(
        name, groups, columns, checked_labels(f"labels of {name}", together, len(together), known, alone=alone)
    )


def _read_labels(path: Path) -> tuple[list[RowGroup], np.ndarray, Columns]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _columns(path, file.schema_arrow)
            groups = [
                RowGroup(path, number, np.arange(file.metadata.row_group(number).num_rows))
                for number in range(file.num_row_groups)
            ]
            labels = file.read(columns=[columns.label])[columns.label]
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"{path} is not a complete parquet file ({_first_line(error)}); download it or write it again"
        ) from None
    if labels.null_count:
        raise ValueError(f"labels of {path} lack {labels.null_count} values; each image must have a label")
    return [group for group in groups if len(group.kept)], labels.to_numpy(), columns


def _columns(path: Path, schema: Any) -> Columns:
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if image is None or label is None:
        raise ValueError(f"{path} has the columns {', '.join(schema.names)}; it must have {WANTED}")
    kind = str(schema.field(image).type)
    if not (kind.startswith("struct<bytes: binary") or kind in ("binary", "large_binary")):
        raise ValueError(f"{path} has the column {image} of type {kind}; it must have {WANTED}")
    return Columns(image, label, _said_classes(schema, label))


def _said_classes(schema: Any, label: str) -> int | None:
    """Return the number of classes that Hugging Face's description of the columns declares."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        return len(content["info"]["features"][label]["names"]) or None
    except (KeyError, TypeError, ValueError):
        return None


def _read_images(group: RowGroup, column: str) -> Any:
    try:
        with pyarrow.parquet.ParquetFile(group.path) as file:
            return file.read_row_group(group.number, columns=[column])[column].combine_chunks()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"row group {group.number} of {group.path} cannot be read ({_first_line(error)}); download the file again"
        ) from None


def _content(value: Any) -> bytes:
    """Return the bytes of an image. If only a path is stored there are none, and decoding fails."""
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _hashed(*key: int) -> int:
    return int.from_bytes(hashlib.sha256(" ".join(map(str, key)).encode()).digest()[:8], "big")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
