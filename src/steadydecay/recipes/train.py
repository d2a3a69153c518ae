"""Train one run, from the recipe to its log and checkpoints, as a linear function."""

import math
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from steadydecay.groups.roles import main_role
from steadydecay.monitor.watch import Watch, watch
from steadydecay.recipes import checkpoint
from steadydecay.recipes.agreed_checkpoint import load_agreed
from steadydecay.recipes.checkpoint import CHECKPOINT_FOLDER, Checkpoint, CheckpointError
from steadydecay.recipes.divergence import NonFiniteError, require_finite
from steadydecay.recipes.earlier_log import require_log_fits, require_replaceable
from steadydecay.recipes.expected_state import ExpectedState, expected_state, require_expected, require_recipe
from steadydecay.recipes.measurements import hyperparameters_by_role, norms_by_role
from steadydecay.recipes.optimizers import OPTIMIZERS, require_trainable, require_usable
from steadydecay.recipes.overrides import differences
from steadydecay.recipes.precision import autocast
from steadydecay.recipes.progress import RunProgress
from steadydecay.recipes.recipe import Recipe, require_legal
from steadydecay.recipes.schedule import RunSchedule
from steadydecay.recipes.strategy import SharedModel, Strategy, require_strategy, shared_model
from steadydecay.recipes.whole_state import gathered, load_whole_model, load_whole_optimizer
from steadydecay.recipes.workers import Workers, is_restarted, joined_workers
from steadydecay.run_log.folder_lock import locked
from steadydecay.run_log.record import LOG_NAME
from steadydecay.run_log.writer import RunLog


@final
class RecipeChangedError(ValueError):
    """The run folder contains checkpoints of another recipe."""


@dataclass(frozen=True)
class RunParts:
    """The parts of a run in this process."""

    recipe: Recipe
    folder: Path
    workers: Workers
    strategy: Strategy
    data: Any
    shared: SharedModel
    optimizer: torch.optim.Optimizer
    schedule: RunSchedule
    monitor: Watch

    @property
    def model(self) -> nn.Module:
        return self.shared.model

    @property
    def is_writer(self) -> bool:
        return self.workers.rank == 0


def train(recipe: Recipe, folder: Path | str, *, restart: bool = False, strategy: Strategy = "ddp") -> None:
    """Train a recipe, or resume from the last whole checkpoint in `folder`. A finished run returns at once.

    The run writes `run.jsonl` (with the recipe first) and `checkpoints/`. Only one run at a time can write to a folder.
    Under torchrun, every rank calls this function.

    Args:
        recipe: A recipe from `recipe_for`, or one with every field given.
        folder: The folder of the run, created if it is missing. It must not be "", which would be the current folder.
        restart: Start again from the beginning and delete the checkpoints of an earlier run. Processes that torchrun
            restarts (`--max-restarts`) resume their own run nevertheless.
        strategy: How the ranks of torchrun share the model: "ddp" replicates it on each of them, "fsdp" shards it with
            FSDP2. A run may resume under the other strategy and with another number of ranks. A single process always
            has the whole model.

    Raises:
        ValueError: The optimizer or strategy is unknown, a number is outside its range, the ranks cannot divide the
            batch, or there is no example to validate with.
        RecipeChangedError: The folder has checkpoints of another recipe, and `restart` is False.
        FolderInUseError: Another run is writing to the folder.
        CheckpointError: No checkpoint is whole, the log has none beside it, or one cannot be written; the last one
            stays.
        OSError: The folder, its checkpoints or its log cannot be read or written.
        NonFiniteError: The training diverged. The last checkpoint is whole.
    """
    if not str(folder):
        raise ValueError("folder is ''; give a path, such as . for the current folder")
    folder = Path(folder)
    require_strategy(strategy)
    require_trainable(recipe.optimizer)
    require_legal(recipe)
    require_usable(recipe)
    with joined_workers() as workers:
        _train_with(workers, recipe, folder, restart and not is_restarted(), strategy)


def _train_with(workers: Workers, recipe: Recipe, folder: Path, restart: bool, strategy: Strategy) -> None:
    # This is a separate function so that the model is freed at its end, while the process group still exists.
    torch.manual_seed(recipe.seed)
    data = recipe.load_data()
    shared = shared_model(recipe.build_model(data), recipe, workers, strategy)
    optimizer = OPTIMIZERS[recipe.optimizer](shared.model, recipe)
    schedule = RunSchedule(optimizer, recipe)
    monitor = watch(optimizer, every=recipe.layers_every)
    run = RunParts(recipe, folder, workers, strategy, data, shared, optimizer, schedule, monitor)
    with ExitStack() as held:
        workers.first(lambda: _enter_folder(run, held, restart=restart))
        steps_done = _resume(run)
        if not restart:
            workers.first(lambda: require_log_fits(folder / LOG_NAME, steps_done, recipe.checkpoint_every))
        if steps_done < recipe.steps:
            _train_on(run, steps_done)


def _enter_folder(run: RunParts, held: ExitStack, *, restart: bool) -> None:
    held.enter_context(locked(run.folder))
    # Only now, so that neither a wrong path or setting nor another run destroys the earlier run.
    if restart:
        require_replaceable(run.folder / LOG_NAME)
        checkpoint.delete_all(run.folder / CHECKPOINT_FOLDER)


def _train_on(run: RunParts, steps_done: int) -> None:
    recipe, model, optimizer = run.recipe, run.model, run.optimizer
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    shown = main_role([group["role"] for group in optimizer.param_groups])
    with _open_log(run, steps_done) as log, _open_progress(run, steps_done) as progress:
        for step in range(steps_done + 1, recipe.steps + 1):
            began = time.perf_counter()
            own_loss = _backward(run, step)
            loss = run.workers.mean(own_loss).item()
            total_norm = _whole(get_total_norm([p.grad for p in parameters if p.grad is not None]))
            _stop_if_divergent(run, step, own_loss, loss, total_norm, log)
            measures = hyperparameters_by_role(optimizer) | norms_by_role(optimizer, "gradient_norm")
            if recipe.clip is not None:
                clip_grads_with_norm_(parameters, recipe.clip, total_norm)
            if step == recipe.steps:
                run.monitor.measure_next_step()
            optimizer.step()
            run.schedule.step()
            optimizer.zero_grad()
            measures |= norms_by_role(optimizer, "weight_norm")
            seconds = time.perf_counter() - began
            log.write("step", step=step, loss=loss, seconds=seconds, **measures)
            if step % recipe.layers_every == 0 or step == recipe.steps:
                log.write("watch", step=step, **run.monitor.record())
            norms = measures["weight_norm"][shown], measures["gradient_norm"][shown]
            progress.update(step, loss, *norms, seconds)
            if step % recipe.evaluate_every == 0 or step == recipe.steps:
                log.write("validation", step=step, **_evaluate(run))
            if step % recipe.checkpoint_every == 0 or step == recipe.steps:
                state = gathered(_state(run), is_kept=run.is_writer)
                run.workers.first(partial(_save, run, step, state, log))


def _save(run: RunParts, step: int, state: dict[str, Any], log: RunLog) -> None:
    # Sync the log first, because a checkpoint that outlives a crash must not be ahead of it.
    log.sync()
    checkpoint.save(run.folder / CHECKPOINT_FOLDER, step, state, keep=run.recipe.keep_checkpoints)


def _backward(run: RunParts, step: int) -> Tensor:
    """Compute the gradients of one step's mean loss, averaged over ranks; return the loss of this rank's share."""
    recipe, workers, shared = run.recipe, run.workers, run.shared
    total = torch.zeros((), device=workers.device)
    for micro_step in range(recipe.accumulate):
        place = (step - 1, micro_step, workers.rank, workers.world_size)
        batch = recipe.train_batch(run.data, *place)
        batch = recipe.augmented(run.data, _to(workers.device, batch), *place)
        # Gradients are exchanged once, in the last backward pass of a step.
        is_last = micro_step == recipe.accumulate - 1
        with nullcontext() if is_last else shared.without_exchange():
            with autocast(recipe.precision, workers.device):
                loss = shared.loss_of(*batch) / recipe.accumulate
            loss.backward()
        total += loss.detach()
    return total


@torch.no_grad()
def _evaluate(run: RunParts) -> dict[str, float]:
    """Average the loss, and what else the model measures, over the validation examples; ranks take turns over
    batches."""
    workers, sums, rows = run.workers, Counter[str](), 0
    run.model.eval()
    for batch, is_own in workers.turns(run.recipe.validation_batches(run.data)):
        with autocast(run.recipe.precision, workers.device):
            given = run.model(*_to(workers.device, batch))
        # A batch may be empty because all its images are damaged.
        if is_own and len(batch[0]):
            rows += len(batch[0])
            for name, mean in (given if isinstance(given, dict) else {"loss": given}).items():
                sums[name] += mean.item() * len(batch[0])
    run.model.train()
    of_ranks = workers.all_of((sums, rows))
    row_sum = sum(rows for _, rows in of_ranks)
    if not row_sum:
        raise ValueError(
            f"{type(run.recipe).__name__}.validation_batches yields no example; it must yield at least one"
        )
    # A rank without a batch has no names.
    names = dict.fromkeys(name for sums, _ in of_ranks for name in sums)
    return {name: sum(sums[name] for sums, _ in of_ranks) / row_sum for name in names}


def _resume(run: RunParts) -> int:
    """Restore model, optimizer and schedule, and return the number of steps already done."""

    expected = expected_state(run.optimizer, run.schedule.base_lrs)

    def accept(found: Checkpoint, state: dict[str, Any]) -> None:
        _require_same_recipe(run, require_recipe(state))
        _restore(run, found.step, state, expected)

    return load_agreed(run.folder / CHECKPOINT_FOLDER, run.workers, accept) or 0


def _require_same_recipe(run: RunParts, recipe: Mapping[str, Any]) -> None:
    if changed := differences(recipe, asdict(run.recipe)):
        remedy = "Start again from the beginning (--restart), or choose another folder (--out)."
        raise RecipeChangedError(f"{run.folder} has a run of another recipe ({'; '.join(changed)}). {remedy}")


def _restore(run: RunParts, step: int, state: dict[str, Any], expected: ExpectedState) -> None:
    """Restore the parts from the state. If it is refused halfway, the next checkpoint overwrites what it changed."""
    try:
        load_whole_model(run.model, state["model"])
        load_whole_optimizer(run.optimizer, state["optimizer"])
        run.schedule.load_state_dict(state["schedule"])
        # Checkpoints from before there was a monitor have no monitor state.
        if "monitor" in state:
            run.monitor.load_state_dict(state["monitor"])
        require_expected(expected, state)
    except CheckpointError:
        raise
    except Exception as error:  # Each part may raise anything for a state that is not its own.
        raise CheckpointError(f"its content does not belong to this run ({checkpoint.short(error)})") from error
    if run.schedule.last_epoch != step:
        raise CheckpointError(f"its content is of step {run.schedule.last_epoch}")
    if step > run.recipe.steps:
        raise CheckpointError(f"it is of step {step:,}, but the run ends at step {run.recipe.steps:,}")


def _state(run: RunParts) -> dict[str, Any]:
    return {
        "recipe": asdict(run.recipe),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "monitor": run.monitor.state_dict(),
    }


def _open_log(run: RunParts, steps_done: int) -> RunLog:
    if not run.is_writer:
        return RunLog(Path(os.devnull).open("w"))
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in run.model.parameters()}
    machine = {
        "torch": torch.__version__,
        "world_size": run.workers.world_size,
        "weight_dtype": ", ".join(sorted(dtypes)),
        "device": run.workers.device_name,
        "item": run.recipe.ITEM,
        "items_per_step": run.recipe.items_per_step,
    }
    if run.workers.world_size > 1:
        machine["strategy"] = run.strategy
    configuration = asdict(run.recipe) | run.recipe.decided_by(run.data) | machine
    return RunLog.open(run.folder / LOG_NAME, configuration=configuration, resume_step=steps_done or None)


def _open_progress(run: RunParts, steps_done: int) -> RunProgress:
    return RunProgress(run.recipe, steps_done, silent=not run.is_writer)


def _stop_if_divergent(
    run: RunParts, step: int, own_loss: Tensor, loss: float, total_norm: Tensor, log: RunLog
) -> None:
    def ranks() -> list[int]:
        losses = run.workers.all_of(own_loss.item())
        return [rank for rank, one in enumerate(losses) if len(losses) > 1 and not math.isfinite(one)]

    try:
        require_finite(step, loss, total_norm, run.model, ranks)
    except NonFiniteError as error:
        log.write("failure", step=step, loss=loss, message=str(error))
        raise


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _to(device: torch.device, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.to(device, non_blocking=True) for part in batch)
