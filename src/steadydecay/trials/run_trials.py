"""Train the missing runs of a list, several at a time, whatever happens to the processes that train them."""

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, final

from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.recipes.recipe import Recipe
from steadydecay.theory.validation import require_in
from steadydecay.trials.trial_folder import Ending, ending_of, trial_name
from steadydecay.trials.worker_process import begin_worker, train_trial

ATTEMPTS = 3
# A second attempt would meet these errors again.
FINAL_ERRORS = (ValueError, CheckpointError)


@final
@dataclass(frozen=True)
class TrialEnd:
    """The outcome of one trial.

    Attributes:
        recipe: The recipe that was trained.
        folder: The folder of its run.
        ending: How it ended.
        attempts: How often a process started or resumed it this time, or 0 if an earlier command had finished it.
        seconds: The time that this took.
    """

    recipe: Recipe
    folder: Path
    ending: Ending
    attempts: int = 0
    seconds: float = 0.0


Told = Callable[[TrialEnd], None]


class Slot(Protocol):
    """Something that trains one trial after the other, wherever it runs. Its errors are as those of `train`."""

    def train(self, recipe: Recipe, folder: Path) -> Ending:
        """Train or resume a trial. When it returns, the run's log is in `folder`."""
        ...

    def end(self) -> None:
        """Stop at once, whatever is being trained."""
        ...


def run_trials(
    recipes: Iterable[Recipe],
    store: Path,
    *,
    processes: int | None = None,
    told: Told = lambda end: None,
    new_slot: Callable[[], Slot] | None = None,
) -> list[TrialEnd]:
    """Train each recipe in its own folder below `store`, unless that was done before.

    An interrupted trial resumes from its last checkpoint. A trial is tried again, up to three times in total, if its
    process died or if it ended with an error that may not recur. The other trials are not affected.

    Args:
        recipes: The recipes of the trials. Equal ones are trained once.
        store: The folder for the runs, created if it is missing. It may contain trials of other lists.
        processes: The number of simultaneous trials, which share the cores, ≥ 1. The default is one for each core.
        told: Called in the caller's thread with the outcome of each trial, first for those that had ended before.
        new_slot: Creates each of the `processes`. The default is a worker process on this machine.

    Returns:
        One outcome for each different recipe, in their order.

    Raises:
        ValueError: `processes` is below 1.
        OSError: The store cannot be created.
    """
    cores = usable_cores()
    processes = cores if processes is None else processes
    require_in("processes", processes, 1, include_low=True)
    store.mkdir(parents=True, exist_ok=True)
    folders = {recipe: store / trial_name(recipe) for recipe in dict.fromkeys(recipes)}
    ends: dict[Recipe, TrialEnd] = {}
    for recipe, folder in folders.items():
        if (ending := ending_of(recipe, folder)) is not None:
            ends[recipe] = TrialEnd(recipe, folder, ending)
            told(ends[recipe])
    missing = [recipe for recipe in folders if recipe not in ends]
    made = new_slot or partial(_ProcessSlot, max(1, cores // processes))
    for end in _ends_of(missing, folders, [made] * min(processes, len(missing))):
        ends[end.recipe] = end
        told(end)
    return [ends[recipe] for recipe in folders]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ends_of(
    recipes: Sequence[Recipe], folders: dict[Recipe, Path], new_slots: Sequence[Callable[[], Slot]]
) -> Iterator[TrialEnd]:
    """Yield the outcomes of all recipes as they arrive, from threads that each drive one slot."""
    waiting: queue.SimpleQueue[Recipe] = queue.SimpleQueue()
    ended: queue.SimpleQueue[TrialEnd | BaseException] = queue.SimpleQueue()
    for recipe in recipes:
        waiting.put(recipe)
    with _slots(new_slots) as made:
        for slot in made:
            threading.Thread(target=_drive, args=(slot, waiting, folders, ended), daemon=True).start()
        for _ in recipes:
            end = ended.get()
            if isinstance(end, BaseException):
                raise end
            yield end


def _drive(
    slot: Slot,
    waiting: "queue.SimpleQueue[Recipe]",
    folders: dict[Recipe, Path],
    ended: "queue.SimpleQueue[TrialEnd | BaseException]",
) -> None:
    try:
        while True:
            recipe = waiting.get_nowait()
            ended.put(_end_of(slot, recipe, folders[recipe]))
    except queue.Empty:
        return
    except BaseException as error:  # Whatever it is, the caller must not wait forever.
        ended.put(error)


def _end_of(slot: Slot, recipe: Recipe, folder: Path) -> TrialEnd:
    began, attempt, ending = time.perf_counter(), 0, Ending("failed")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ending = slot.train(recipe, folder)
        except FINAL_ERRORS as error:
            return TrialEnd(recipe, folder, Ending("failed", str(error)), attempt, time.perf_counter() - began)
        except BrokenProcessPool:
            ending = Ending("failed", f"its process died {attempt} times")
        except Exception as error:  # A disk that is full now may have space later.
            ending = Ending("failed", f"{type(error).__name__}: {error}")
        if ending.status != "failed":
            break
    return TrialEnd(recipe, folder, ending, attempt, time.perf_counter() - began)


@final
class _ProcessSlot:
    """One worker process, which is replaced if it dies. Each process imports torch once."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = self._new_pool()

    def train(self, recipe: Recipe, folder: Path) -> Ending:
        try:
            return self._pool.submit(train_trial, recipe, folder).result()
        except BrokenProcessPool:
            self._pool = self._new_pool()
            raise

    def end(self) -> None:
        # shutdown is not enough, because it waits for the trial that is being trained.
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        # A forked process would inherit torch's thread pools without their threads.
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=spawn, initializer=begin_worker, initargs=(self._threads, os.getpid()))


@contextmanager
def _slots(new_slots: Sequence[Callable[[], Slot]]) -> Iterator[list[Slot]]:
    slots = [new_slot() for new_slot in new_slots]
    try:
        yield slots
    finally:
        for slot in slots:
            slot.end()
