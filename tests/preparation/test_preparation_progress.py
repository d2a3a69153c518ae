"""What a preparation shows without a terminal, by a clock of the test."""

import pytest

from steadydecay.preparation.preparation_progress import PreparationProgress


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_lines_have_share_counts_speed_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    times = [0.0]
    with PreparationProgress(1_000, 0, clock=lambda: times[0]) as progress:
        for times[0], read in ((2.0, 100), (3.0, 150), (12.0, 600), (20.0, 1_000), (21.0, 1_000)):
            progress.update(read, read * 2, read * 30)
    assert shown(capsys) == [
        "10.0%  200 documents  3,000 tokens  1,500 tokens/s  0:00:18 left",
        "60.0%  1,200 documents  18,000 tokens  1,500 tokens/s  0:00:08 left",
        "100.0%  2,000 documents  30,000 tokens  1,500 tokens/s  0:00:00 left",
    ]


def test_what_was_done_before_is_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    times = [0.0]
    with PreparationProgress(1_000, 500, clock=lambda: times[0]) as progress:
        for times[0], read in ((1.0, 510), (11.0, 610)):
            progress.update(read, read, read * 100)
    assert shown(capsys) == [
        "51.0%  510 documents  51,000 tokens  0 tokens/s  0:00:49 left",
        "61.0%  610 documents  61,000 tokens  909 tokens/s  0:00:39 left",
    ]
