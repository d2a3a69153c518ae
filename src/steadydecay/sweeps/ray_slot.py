"""Run trials as tasks of a Ray cluster. Logs come back, and checkpoints stay on the node until the trial ends."""

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
    """Ray ended the task without a result, because its process or node died or the node ran out of memory."""


@final
class RaySlot:
    """Train one trial after the other somewhere on the cluster that this process has joined.

    Ray notices that a process or a node has died, but does not repeat the task (max_retries=0). `run_trials` does, and
    counts and reports attempts in the same way wherever trials run.

    Args:
        resources: What one trial takes on a node, "CPU" and "GPU".
        sweep: The folder of the sweep, which no other sweep on this machine has.
    """

    def __init__(self, resources: Mapping[str, float], sweep: Path) -> None:
        import ray

        options: dict[str, Any] = {"num_cpus": resources["CPU"], "num_gpus": resources["GPU"], "max_retries": 0}
        self._task = ray.remote(**options)(train_on_node)
        name = f"{socket.gethostname()}:{sweep.resolve()}"
        self._origin = Origin(name, str(Path.cwd()), max(1, int(resources["CPU"])))
        self._is_ended = False

    def train(self, recipe: Recipe, folder: Path) -> Ending:
        """Train a trial as `train_trial` does. The log in `folder` is replaced when the trial ends.

        Raises:
            TaskDiedError: The task died, and the trial may be tried again.
            Exception: Whatever `train` raised on the node.
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
