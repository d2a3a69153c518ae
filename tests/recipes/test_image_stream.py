"""Images decoded by other processes as they are needed: the right ones, in order, and what is broken among them."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from image_data_sets import coloured, encoded, write_folder, write_parquet
from steadydecay.recipes.vit import image_stream
from steadydecay.recipes.vit.decoding import View, decoded
from steadydecay.recipes.vit.encoded_image import Encoded
from steadydecay.recipes.vit.image_files import FileSource, ImageFile, read_image_folder
from steadydecay.recipes.vit.image_parquet import read_parquet
from steadydecay.recipes.vit.image_stream import Decoders, Faults, ImageStream, decoded_at_once
from steadydecay.recipes.workers import Workers


@pytest.fixture(scope="module")
def decoders() -> Decoders:
    """Real processes, started once for all tests here."""
    return Decoders()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FileSource:
    return read_image_folder(write_folder(tmp_path_factory.mktemp("images"), ["a", "b", "c"], 20)).train


def with_broken(source: FileSource, folder: Path, places: list[int]) -> FileSource:
    (folder / "broken.jpg").write_bytes(encoded(coloured(0, 0))[:200])
    files = [
        ImageFile(folder / "broken.jpg" if number in places else path, label)
        for number, (path, label) in enumerate(source.files)
    ]
    return FileSource("set", tuple(files))


def test_a_training_batch_is_the_crops_of_the_images_in_their_order(source: FileSource, decoders: Decoders) -> None:
    images, labels = ImageStream(source, 16, decoders).training_batch([range(5, 14)], seed=3)
    for row, sequence in enumerate(range(5, 14)):
        (expected,) = source.read([source.training_order(sequence, 3)])
        pixels, _ = decoded(expected.content, View(16, least_area=0.05, key=(3, sequence)))
        assert pixels is not None and np.array_equal(images[row].numpy(), pixels)
        assert labels[row] == expected.label
    assert images.dtype == torch.uint8 and labels.dtype == torch.int64


def test_what_is_decoded_ahead_is_what_comes_next_and_nothing_is_decoded_twice(
    source: FileSource, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = [], FileSource.read

    def counted(self: FileSource, indices: Sequence[int]) -> list[Encoded]:
        reads.append(list(indices))
        return read(self, indices)

    monkeypatch.setattr(FileSource, "read", counted)
    stream, ranges = ImageStream(source, 8, decoders), [range(start, start + 6) for start in range(0, 60, 6)]
    found = [stream.training_batch(ranges[k : k + 3], seed=0)[0] for k in range(6)]
    stream._readers.shutdown()
    assert sorted(reads) == sorted([source.training_order(row, 0) for row in rows] for rows in ranges[:8])
    again = ImageStream(source, 8, decoders)
    assert torch.equal(again.training_batch([ranges[5]], seed=0)[0], found[5]), "a run that resumes needs no replay"
    assert not torch.equal(again.training_batch([ranges[5]], seed=1)[0], found[5])


def test_a_rank_decodes_the_batches_of_its_turns_alone(
    source: FileSource, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = [], FileSource.read

    def counted(self: FileSource, indices: Sequence[int]) -> list[Encoded]:
        reads.append((min(indices), len(indices)))
        return read(self, indices)

    whole = list(ImageStream(source, 8, decoders).in_order(7))
    monkeypatch.setattr(FileSource, "read", counted)
    found: list[tuple[int, bool]] = []
    for rank in (0, 1):
        reads.clear()
        turns = list(Workers(rank, 2, torch.device("cpu")).turns(ImageStream(source, 8, decoders).in_order(7)))
        own = [(7 * place, len(labels)) for place, (_, labels) in enumerate(whole) if place % 2 == rank]
        # Who has no batch in the last round takes part with that of the other.
        assert sorted(reads) == sorted(own + ([(7 * (len(whole) - 1), len(whole[-1][1]))] * (len(own) < len(turns))))
        found += [(len(labels), is_own) for (_, labels), is_own in turns]
    assert sum(rows for rows, is_own in found if is_own) == len(source)


def test_a_batch_of_broken_images_is_left_out_and_is_empty_at_its_place(
    source: FileSource, decoders: Decoders, tmp_path: Path
) -> None:
    # One broken file at two places, of so many that it may be skipped.
    often = FileSource("set", source.files * 3)
    batches = ImageStream(with_broken(often, tmp_path, [4, 5]), 8, decoders).in_order(2)
    with pytest.warns(UserWarning, match="Skipped .*broken"):
        (empty,) = batches.at([2])
    assert empty[0].shape == (0, 3, 8, 8) and len(list(batches)) == len(batches) - 1


def test_an_evaluation_has_every_image_once_in_order(source: FileSource, decoders: Decoders) -> None:
    stream = ImageStream(source, 8, decoders)
    batches, again = list(stream.in_order(20)), list(stream.in_order(20))
    assert [len(labels) for _, labels in batches] == [20] * (len(source) // 20) + [len(source) % 20]
    assert torch.cat([labels for _, labels in batches]).tolist() == [label for _, label in source.files]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(batches, again, strict=True))
    (expected,) = source.read([21])
    pixels, _ = decoded(expected.content, View(8, margin=256 / 224))
    assert pixels is not None and np.array_equal(batches[1][0][1].numpy(), pixels)


def test_broken_images_are_skipped_counted_and_named(source: FileSource, decoders: Decoders, tmp_path: Path) -> None:
    # Twice the files, of which one is below 1 %.
    many = FileSource("set", source.files * 3)
    stream = ImageStream(with_broken(many, tmp_path, [3]), 8, decoders)
    with pytest.warns(UserWarning, match=r"Skipped .*broken\.jpg: .* \(1 skipped of 1\d\d\)"):
        images, labels = stream.training_batch([range(len(many))], seed=0)
    assert len(images) == len(labels) == len(many), "a step has as many images as it says"
    assert len(stream.faults) == 1
    assert sum(len(labels) for _, labels in stream.in_order(50)) == len(many) - 1, "named once, and left out again"
    assert len(stream.faults) == 1


def test_more_than_one_percent_broken_stops_the_run() -> None:
    faults = Faults("set", 300)
    for number in range(3):
        with pytest.warns(UserWarning, match="Skipped"):
            faults.add(f"image {number}", "cut off")
        faults.add(f"image {number}", "cut off")
    with pytest.raises(
        ValueError, match=r"^4 of the 300 images of set cannot be decoded, but at most 1% may be damaged: image 0 \(cut"
    ):
        faults.add("image 3", "cut off")


def test_a_batch_without_a_whole_image_is_an_error(source: FileSource, decoders: Decoders, tmp_path: Path) -> None:
    many = FileSource("set", source.files * 3)
    stream = ImageStream(with_broken(many, tmp_path, [many.training_order(0, 0)]), 8, decoders)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no image of a batch of set can be decoded"):
        stream.training_batch([range(1)], seed=0)


def test_parquet_and_files_decode_at_once_to_the_same_pixels(decoders: Decoders, tmp_path: Path) -> None:
    labels = [number % 3 for number in range(30)]
    split = read_parquet("set", [write_parquet(tmp_path / "a.parquet", labels)], None).train
    found = decoded_at_once(split, 8, decoders)
    expected = [decoded(one.content, View(8)).pixels for one in split.read(range(len(split)))]
    assert np.array_equal(found.images.numpy(), np.stack(expected))  # type: ignore[arg-type]
    assert found.labels.tolist() == split.labels.tolist()


def test_images_that_do_not_fit_into_memory_are_refused(
    source: FileSource, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_stream, "LARGEST_IN_MEMORY", 1000)
    with pytest.raises(
        ValueError, match=r"^image_size is 16, at which the 4\d images of .* GiB of memory.*photographs"
    ):
        decoded_at_once(source, 16, decoders)


def test_a_process_that_is_killed_is_said(source: FileSource) -> None:
    one = Decoders()
    one.count = 1
    assert not one.decode(source.read([0]), [View(8)])[0].fault
    for process in list(one._pool._processes.values()):
        process.kill()
    with pytest.raises(OSError, match="a process that decodes images was killed"):
        one.decode(source.read(range(20)), [View(8)] * 20)


def test_the_processes_end_with_a_run_that_is_killed(source: FileSource) -> None:
    code = f"""
import os, signal
from steadydecay.recipes.vit.decoding import View
from steadydecay.recipes.vit.encoded_image import Encoded
from steadydecay.recipes.vit.image_stream import Decoders
if __name__ == "__main__":
    decoders = Decoders()
    decoders.count = 1
    decoders.decode([Encoded("one", {source.files[0].path.read_bytes()!r}, 0)], [View(8)])
    print(*decoders._pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    (process,) = map(int, run.stdout.split())
    for _ in range(600):
        if not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError("it still waits for images")
