"""Trials as tasks of a Ray cluster: their logs come back, their checkpoints stay on the node until they end."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from steadydecay.recipes.recipe import Recipe
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.sweeps.node_trial import Origin, train_on_node
from steadydecay.trials.trial_folder import Ending


@final
class TaskDiedError(RuntimeError):
    """Ray ended the task without an answer: its process or its node died, or the node ran out of memory."""


@final
class RaySlot:
    """Trains one trial after the other somewhere on the cluster that this process has joined.

    Ray finds out that a process or a node has died. It does not repeat the task (max_retries=0): `run_trials` does,
    which counts attempts and tells of them alike wherever trials run.

    Args:
        resources: what one trial takes of a node: "CPU" and "GPU".
        sweep: the sweep's folder, which no other sweep on this machine has.
    """

    def __init__(self, resources: Mapping[str, float], sweep: Path) -> None:
        import ray

        options: dict[str, Any] = {"num_cpus": resources["CPU"], "num_gpus": resources["GPU"], "max_retries": 0}
        self._task = ray.remote(**options)(train_on_node)
        name = f"{socket.gethostname()}:{sweep.resolve()}"
        self._origin = Origin(name, str(Path.cwd()), max(1, int(resources["CPU"])))
        self._is_ended = False

    def train(self, recipe: Recipe, folder: Path) -> Ending:
        """As `train_trial`; the log in `folder` is replaced when the trial ends.

        Raises:
            TaskDiedError: the trial may be tried again.
            Exception: what `train` raised on the node.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        # Once the driver has left the cluster, Ray would start a new one here for this task.
        if self._is_ended:
            raise TaskDiedError("the sweep has ended")
        try:
            ending, files = ray.get(self._task.remote(recipe, self._origin))
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise TaskDiedError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            replace_file(folder / name, [content])
        return ending

    def end(self) -> None:
        """Start no further task. Ray itself ends the tasks of a driver that leaves."""
        self._is_ended = True
