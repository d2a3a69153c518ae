"""All ranks go on from one checkpoint: the newest that each of them can read and accepts."""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from steadydecay.recipes import agreed_checkpoint
from steadydecay.recipes.agreed_checkpoint import load_agreed
from steadydecay.recipes.checkpoint import Checkpoint, CheckpointError, save

RANKS = 3


class Threads:
    """Stands for `Workers` in threads of one process."""

    def __init__(self, rank: int, barrier: threading.Barrier, table: dict[int, Any]) -> None:
        self.rank, self._barrier, self._table = rank, barrier, table

    def all_of(self, value: Any) -> list[Any]:
        self._table[self.rank] = value
        self._barrier.wait(10)
        values = [self._table[rank] for rank in range(RANKS)]
        self._barrier.wait(10)
        return values

    def told(self, value: Any) -> Any:
        return self.all_of(value)[0]

    def together(self, act: Callable[[], object]) -> None:
        try:
            act()
            error = None
        except Exception as raised:
            error = raised
        for one in self.all_of(error):
            if one is not None:
                raise one


def loaded(folder: Path, accept: Callable[[int, Checkpoint], None] = lambda rank, found: None) -> list[Any]:
    """What each rank got: a step, None or an error."""
    barrier, table = threading.Barrier(RANKS), {}

    def of_rank(rank: int) -> Any:
        workers: Any = Threads(rank, barrier, table)
        try:
            return load_agreed(folder, workers, lambda found, state: accept(rank, found))
        except Exception as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(RANKS) as threads:
        warnings.simplefilter("ignore")
        return list(threads.map(of_rank, range(RANKS)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (1, 2, 3):
        save(tmp_path, step, {"step": step})
    return tmp_path


def test_the_newest_is_taken_by_all(folder: Path) -> None:
    assert loaded(folder) == [3] * RANKS
    assert loaded(folder / "absent") == [None] * RANKS


def test_what_one_rank_does_not_accept_none_takes(folder: Path) -> None:
    def accept(rank: int, found: Checkpoint) -> None:
        if found.step + rank == 5:
            raise CheckpointError("not by the third")

    assert loaded(folder, accept) == [2] * RANKS


def test_what_one_rank_cannot_read_none_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = agreed_checkpoint.state_in
    told: list[str] = []

    def state_in(found: Checkpoint, location: Any) -> dict[str, Any]:
        if found.step == 3:
            raise CheckpointError("it cannot be read (No such file or directory)")
        return read(found, location)

    monkeypatch.setattr(agreed_checkpoint, "state_in", state_in)
    monkeypatch.setattr(warnings, "warn", lambda message, **_: told.append(message))
    assert loaded(folder) == [2] * RANKS
    assert len(told) == 1 and "step-000000003" in told[0]
    assert (
        "on rank 1 it cannot be read (No such file or directory); every node must be able to read the run's folder"
        in told[0]
    )


def test_where_none_is_whole_all_say_so(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"broken")
    errors = loaded(folder)
    assert all(isinstance(error, CheckpointError) and "none of the 3 checkpoints" in str(error) for error in errors)


def test_another_error_of_one_rank_ends_all(folder: Path) -> None:
    def accept(rank: int, found: Checkpoint) -> None:
        if rank == 1:
            raise ValueError("of another recipe")

    assert [str(error) for error in loaded(folder, accept)] == ["of another recipe"] * RANKS
