"""`steadydecay sweep`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.commands.what import What
from steadydecay.recipes.recipe import Recipe
from steadydecay.sweeps.first_estimate import seconds_of_all
from steadydecay.sweeps.ray_cluster import joined_cluster
from steadydecay.sweeps.ray_slot import RaySlot
from steadydecay.sweeps.run_sweep import FailedTrialsError, missing_trials, run_sweep
from steadydecay.sweeps.sweep_page import write_sweep_page
from steadydecay.sweeps.sweep_report import sweep_report
from steadydecay.sweeps.sweep_settings import Axes, Setting, axes_of, combined, listed_settings, shown_settings
from steadydecay.sweeps.sweep_terminal import print_sweep
from steadydecay.sweeps.table_files import require_parquet
from steadydecay.trials.run_trials import Slot, usable_cores


@dataclass
class Sweep(What):
    """Train every setting of a grid or a list with every seed, several trials at a time, here or on a Ray cluster.

    If you run the same command again, only the missing trials are trained. docs/sweep.md describes the tables that it
    writes.
    """

    grid: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """A field and its values, such as --grid lr=0.01,0.02 --grid momentum=0.9,0.95. Repeat the option for each field.
    Every combination is trained."""
    listed: Annotated[Path | None, tyro.conf.arg(name="list")] = None
    """A CSV file with a header, or a file with lines of JSON (.jsonl), whose rows are settings. Each row is combined
    with
    the grid."""
    optimizers: str | None = None
    """The names of the optimizers, separated by commas. The default is scionc."""
    seed: list[int] = field(default_factory=lambda: [0])
    """One or more seeds, such as --seed 0 1 2. Every setting is trained with each of them."""
    processes: int | None = None
    """The number of trials to train at the same time. The default is one for each core of this machine, one on a
    machine
    with a GPU, and on a Ray cluster as many as it has room for."""
    ray: str | None = None
    """Run the trials on a Ray cluster. Give auto if this machine is one of its nodes, or the HOST:PORT of its head."""
    cpus_per_trial: int | None = None
    """With --ray, the number of cores that a trial takes on a node. The default is 1."""
    gpus_per_trial: float | None = None
    """With --ray, the number of GPUs that a trial takes on a node. The default is 0. With 0.5, two trials share a
    GPU."""
    dry_run: bool = False
    """Show the settings, the number of trials and about how long they will take, and train nothing."""
    out: GivenPath = Path("runs/sweep")
    """The folder for the trials, the tables and the report."""

    def run(self) -> None:
        require_parquet()
        self._require_options_fit()
        settings = self._settings()
        recipes = list(dict.fromkeys(map(self._recipe, settings)))
        swept = dict.fromkeys(name for setting in settings for name in setting if name != "seed")
        fields = sorted(swept, key=lambda name: name != "optimizer")
        console = Console()
        missing = missing_trials(recipes, self.out) if not self.restart else recipes
        with self._place() as (processes, new_slot):
            console.print(shown_settings(settings), highlight=False, markup=False)
            console.print(self._announcement(recipes, missing, processes), highlight=False, soft_wrap=True)
            if self.dry_run:
                return
            rows = run_sweep(recipes, fields, self.out, processes=processes, new_slot=new_slot, restart=self.restart)
        report = sweep_report(self.out.resolve().name, rows)
        print_sweep(report)
        console.print(f"report: {write_sweep_page(report, self.out / 'report.html')}", soft_wrap=True, highlight=False)
        if failed := [row for row in rows if row.status == "failed"]:
            raise FailedTrialsError(failed, len(rows))

    def _settings(self) -> list[Setting]:
        axes = axes_of(self.grid)
        rows = [{}] if self.listed is None else listed_settings(self.listed)
        self._require_given_once({*axes, *(name for row in rows for name in row)})
        optimizers = tuple(name.strip() for name in (self.optimizers or "scionc").split(","))
        default_axes: Axes = {"optimizer": optimizers, "seed": tuple(map(str, self.seed))}
        return combined(rows, axes, default_axes)

    def _require_given_once(self, swept: set[str]) -> None:
        given = {text.partition("=")[0].strip() for text in self.overrides}
        given |= {name for name in ("size", "data", "steps") if getattr(self, name) is not None}
        given |= {"optimizer"} if self.optimizers is not None else set()
        if both := sorted(given & swept):
            raise ValueError(
                f"{both[0]} is swept, but another argument gives it a single value; leave out one of the two"
            )

    def _recipe(self, setting: Setting) -> Recipe:
        given = dict(setting)
        optimizer, seed = given.pop("optimizer"), given.pop("seed")
        if not seed.lstrip("+-").isdecimal():
            raise ValueError(f"seed is {seed!r}; it must be a whole number")
        overrides = (*self.overrides, *(f"{name}={text}" for name, text in given.items() if name != "size"))
        return replace(self, size=given.get("size", self.size), overrides=overrides).recipe_of(optimizer, int(seed))

    def _require_options_fit(self) -> None:
        for name in ("cpus_per_trial", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and self.ray is None:
                raise ValueError(f"{name} is {value}, but it belongs to --ray; without --ray, use --processes")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes is {self.processes}; it must be 1 or more")
        if self.cpus_per_trial is not None and self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial is {self.cpus_per_trial}; it must be 1 or more")
        if self.gpus_per_trial is not None and self.gpus_per_trial < 0:
            raise ValueError(f"gpus_per_trial is {self.gpus_per_trial}; it must be 0 or more")

    @contextmanager
    def _place(self) -> Iterator[tuple[int, Callable[[], Slot] | None]]:
        """Yield the number of simultaneous trials, and what trains them if they are not trained here."""
        if self.ray is None:
            yield self.processes or (1 if torch.cuda.is_available() else usable_cores()), None
            return
        resources = {"CPU": self.cpus_per_trial or 1, "GPU": self.gpus_per_trial or 0}
        with joined_cluster(self.ray, resources) as room:
            yield self.processes or room, partial(RaySlot, resources, self.out)

    def _announcement(self, recipes: Sequence[Recipe], missing: Sequence[Recipe], processes: int) -> str:
        trials = f"{len(recipes)} trial{'s' if len(recipes) > 1 else ''}"
        if not missing:
            return f"{trials}, all of which an earlier command has finished."
        before = (
            f", of which an earlier command has finished {len(recipes) - len(missing)}" if missing != recipes else ""
        )
        at_once = min(processes, len(missing))
        threads = max(1, usable_cores() // processes) if self.ray is None else self.cpus_per_trial or 1
        seconds = seconds_of_all(missing, threads) / at_once
        place = "here" if self.ray is None else "on the cluster, if its nodes are as fast as this machine"
        time_left = timedelta(seconds=max(1, round(seconds)))
        estimate = f"The remaining training steps will take about {time_left} with {at_once} trials at a time {place}"
        return f"{trials}{before}. {estimate}. This is a first estimate, without evaluations."
