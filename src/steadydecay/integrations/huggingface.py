"""A callback for transformers.Trainer with the correction, norms of weights and gradients, and the monitor."""

import warnings
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from steadydecay.groups.selection import Where
from steadydecay.integrations.trainer_correction import TrainerCorrection
from steadydecay.integrations.trainer_watch import TrainerWatch
from steadydecay.monitor.chosen import Patterns
from steadydecay.parallel.total_norms import gradient_norms, weight_norms

WATCH_STATE = "steadydecay_watch.pt"


@final
class SteadyDecayCallback(TrainerCallback):
    """Applies `correct_weight_decay` while transformers.Trainer trains, and logs norms by group.

    The recommended form gives the Trainer groups with roles, so that the output layer keeps its constant decay:

        groups = sd.param_groups(model, "adamw", lr=args.learning_rate, weight_decay=args.weight_decay)
        trainer = Trainer(model, args, optimizers=(torch.optim.AdamW(groups), None), ...)
        SteadyDecayCallback().add_to(trainer)

    The last line alone works too. Trainer's own groups then mix the output layer with others, and a warning says so.

    The correction is attached when training begins, after Trainer has loaded a checkpoint, and removed when training
    ends. Its references are in the optimizer's state dict, so a resumed run continues exactly.

    Args:
        rule: As in `correct_weight_decay`. None only logs norms.
        where: As in `correct_weight_decay`. None stands for every group except one that holds only the output layer.
        reference_lr: As in `correct_weight_decay`, above 0.
        log_norms: Whether to add "weight_norm/<role>" and "gradient_norm/<role>" to what Trainer logs with the loss.
            Gradient norms are those before clipping, and cost one pass over the gradients in each step.
        watch_every: Measure every so many steps (`sd.watch`; docs/monitor.md), and log each measurement with the next
            loss. None does not measure. Gradients there are those that the optimizer used, after clipping. The state is
            a file in Trainer's checkpoints, which is searched in `output_dir`.
        watch_layers, watch_measures, watch_groups: Which measurements are logged, as in `Watch.metrics`: patterns of
            names, such as "*.attn.*" or ["norm_ratio", "drift"]. None selects everything, and () nothing of that kind.

    Raises:
        ValueError: Raised when training begins, as in `correct_weight_decay`, or for a pattern that matches nothing.
    """

    def __init__(
        self,
        rule: str | None = "corrected",
        where: Where = None,
        reference_lr: float | None = None,
        *,
        log_norms: bool = True,
        watch_every: int | None = None,
        watch_layers: Patterns = None,
        watch_measures: Patterns = None,
        watch_groups: Patterns = None,
    ) -> None:
        self._correction = TrainerCorrection(rule, where, reference_lr)
        self._watch = TrainerWatch(watch_every, watch_layers, watch_measures, watch_groups)
        self._log_norms = log_norms
        self._is_first = False
        self._gradient_norms: dict[str, Tensor] = {}

    def add_to(self, trainer: Trainer) -> Self:
        """Add the callback before all others, because TensorBoard and W&B log what the log holds when they run."""
        callbacks = trainer.callback_handler.callbacks
        callbacks[:] = [self, *(callback for callback in callbacks if callback is not self)]
        self._is_first = True
        return self

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        assert model is not None and optimizer is not None
        self._correction.attach([optimizer], model)
        saved = checkpoint_folder(args, state) / WATCH_STATE
        if saved.exists():
            self._watch.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))
        self._watch.attach([optimizer])
        if self._log_norms and args.report_to and not self._is_first:
            warnings.warn(
                f"the norms come too late for {', '.join(args.report_to)}, whose callbacks run before this one. "
                f"Instead of Trainer(callbacks=...) use SteadyDecayCallback(...).add_to(trainer)",
                stacklevel=2,
            )

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        if self._log_norms and optimizer is not None:
            self._gradient_norms = gradient_norms(optimizer.param_groups)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Optimizer | None = None,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Evaluations and the summary are logged through the same event, but with another key for their loss.
        if optimizer is None or logs is None or "loss" not in logs:
            return
        norms = self._norms(args, optimizer, logs) if self._log_norms else {}
        measures = norms | self._watch.new_metrics()
        logs.update(measures)
        # Trainer has stored a copy of the logs there.
        if state.log_history:
            state.log_history[-1].update(measures)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        saved = self._watch.state_dict()
        if saved["watches"] and args.should_save:
            torch.save(saved, checkpoint_folder(args, state) / WATCH_STATE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._correction.remove()
        self._watch.remove()

    def _norms(self, args: TrainingArguments, optimizer: Optimizer, logs: dict[str, Any]) -> dict[str, float]:
        before_clipping = unclipping(logs.get("grad_norm"), args.max_grad_norm)
        norms = {name: norm.item() for name, norm in weight_norms(optimizer.param_groups).items()}
        return norms | {name: norm.item() * before_clipping for name, norm in self._gradient_norms.items()}


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Return the folder where Trainer saves the present step."""
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"


def unclipping(total_norm: float | None, max_norm: float | None) -> float:
    """Return the factor that undoes `clip_grad_norm_`, given the norm it returned; 1 if nothing was clipped.

    >>> unclipping(3.0, 1.0), unclipping(0.5, 1.0), unclipping(3.0, 0.0)
    (3.000001, 1.0, 1.0)
    """
    if total_norm is None or not max_norm:
        return 1.0
    return max(1.0, (float(total_norm) + 1e-6) / max_norm)
