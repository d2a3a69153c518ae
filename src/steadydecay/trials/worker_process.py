"""What runs in a worker process: one trial after the other, silently, and never longer than its parent lives."""

import os
import signal
import threading
import time
from contextlib import redirect_stderr
from pathlib import Path

import torch

from steadydecay.recipes.divergence import NonFiniteError
from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.train import train
from steadydecay.trials.trial_folder import Ending

OUTPUT_NAME = "output.txt"
SECONDS_BETWEEN_LOOKS = 0.5


def begin_worker(threads: int, parent: int) -> None:
    """Set up a worker: give it its share of the cores, and let it watch its parent.

    A parent that is killed cannot end its workers, and one that kept training would hold the folder of its run when the
    parent is started again. The parent passes its own id, because it may die before this is called.
    """
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal, and the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def train_trial(recipe: Recipe, folder: Path) -> Ending:
    """Train or resume a trial in this process. What the training prints goes to `output.txt` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / OUTPUT_NAME).open("a", encoding="utf-8") as output, redirect_stderr(output):
        try:
            train(recipe, folder)
        except NonFiniteError as error:
            return Ending("diverged", str(error))
    return Ending("finished")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
