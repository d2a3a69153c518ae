"""Lines of C++ libraries."""

import os

import pytest

from steadydecay.bench.silence import silent_errors


def test_what_is_written_inside_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before ")
    with silent_errors():
        os.write(2, b"inside ")
    with pytest.raises(ValueError, match="no"), silent_errors():
        raise ValueError("no")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def next_descriptors() -> list[int]:
    opened = [os.dup(2) for _ in range(6)]
    for descriptor in opened:
        os.close(descriptor)
    return opened


def test_it_leaves_no_file_open() -> None:
    before = next_descriptors()
    for _ in range(3):
        with silent_errors():
            pass
    assert next_descriptors() == before
