"""What runs on a node of a cluster: one trial in a folder on that node, whose log is sent back."""

import hashlib
import shutil
import tempfile
from contextlib import chdir, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from steadydecay.recipes.recipe import Recipe
from steadydecay.run_log.record import LOG_NAME
from steadydecay.trials.trial_folder import Ending, trial_name
from steadydecay.trials.worker_process import OUTPUT_NAME, train_trial


class Origin(NamedTuple):
    """Where a sweep was started.

    Attributes:
        sweep: The host and the folder, which distinguish it from any other sweep.
        folder: The folder that relative data paths refer to.
        threads: The number of threads of a trial.
    """

    sweep: str
    folder: str
    threads: int


def train_on_node(recipe: Recipe, origin: Origin) -> tuple[Ending, dict[str, bytes]]:
    """Train a trial, or resume it on this node; return how it ended, and the files of its run by name."""
    own = _node_folder(origin.sweep) / trial_name(recipe)
    torch.set_num_threads(origin.threads)
    with chdir(origin.folder) if Path(origin.folder).is_dir() else nullcontext():
        ending = train_trial(recipe, own)
    files = {path.name: path.read_bytes() for path in (own / LOG_NAME, own / OUTPUT_NAME) if path.is_file()}
    shutil.rmtree(own)
    # Other trials of the sweep may be there.
    with suppress(OSError):
        own.parent.rmdir()
    return ending, files


def _node_folder(sweep: str) -> Path:
    import ray

    # The node is part of the name, because nodes may share a disk and one that seems dead may still be writing.
    node = ray.get_runtime_context().get_node_id()
    digest = hashlib.blake2b(f"{sweep} on {node}".encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"steadydecay-sweep-{digest}"
