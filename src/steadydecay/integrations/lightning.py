"""A callback for Lightning's Trainer with the correction, norms of weights and gradients, and the monitor."""

from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from steadydecay.groups.selection import Where
from steadydecay.integrations.trainer_correction import TrainerCorrection
from steadydecay.integrations.trainer_watch import TrainerWatch
from steadydecay.monitor.chosen import Patterns
from steadydecay.parallel.total_norms import gradient_norms, weight_norms


@final
class SteadyDecayCallback(Callback):
    """Applies `correct_weight_decay` to every optimizer of `configure_optimizers`, and logs norms by group.

        def configure_optimizers(self):
            groups = sd.param_groups(self, "adamw", lr=1e-3, weight_decay=0.1)
            optimizer = torch.optim.AdamW(groups)
            ...

        trainer = lightning.pytorch.Trainer(callbacks=[SteadyDecayCallback()], ...)

    The correction is attached when training starts, after `fit(ckpt_path=...)` has loaded a checkpoint. It stays on the
    optimizer after `fit`, so that `trainer.save_checkpoint` saves its references and a resumed run continues exactly.
    The next `fit` creates new optimizers; `remove` detaches it from one that you keep.

    Args:
        rule: As in `correct_weight_decay`. None only logs norms.
        where: As in `correct_weight_decay`. None stands for every group except those of the output layer, as roles or
            else the module's layers tell. With several optimizers, those in which it selects no group are left alone.
        reference_lr: As in `correct_weight_decay`, above 0, for all optimizers.
        log_norms: Whether to log "weight_norm/<role>" and "gradient_norm/<role>", with the optimizer's index in front
            if there are several. This takes one pass over weights and gradients in each step. Gradient norms are those
            before clipping.
        watch_every: Measure every so many steps and log the result (`sd.watch`; docs/monitor.md). None does not
            measure. The state is in Lightning's checkpoints. Gradients there are those that the optimizer used, after
            clipping.
        watch_layers, watch_measures, watch_groups: Which measurements are logged, as in `Watch.metrics`: patterns of
            names, such as "*.attn.*" or ["norm_ratio", "drift"]. None selects everything, and () nothing of that kind.

    Raises:
        ValueError: Raised when training starts, as in `correct_weight_decay`, or for a pattern that matches nothing.
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

    def remove(self) -> None:
        """Restore every weight_decay and detach correction and watch, as `WeightDecayCorrection.remove` does."""
        self._correction.remove()
        self._watch.remove()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._correction.attach(trainer.optimizers, pl_module)
        self._watch.attach(trainer.optimizers)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self._log_norms:
            metrics = norms_of_one(optimizer, trainer.optimizers)
            pl_module.log_dict(metrics, on_step=True, on_epoch=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if metrics := self._watch.new_metrics():
            pl_module.log_dict(metrics, on_step=True, on_epoch=False)

    def state_dict(self) -> dict[str, Any]:
        return self._watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._watch.load_state_dict(state_dict)


def norms_of_one(optimizer: Optimizer, optimizers: list[Optimizer]) -> dict[str, Tensor]:
    """Return norms of weights and gradients by group. Names start with the optimizer's index if there are several."""
    groups = optimizer.param_groups
    norms = {**weight_norms(groups), **gradient_norms(groups)}
    if len(optimizers) == 1:
        return norms
    index = next(index for index, other in enumerate(optimizers) if other is optimizer)
    return {f"{index}/{name}": norm for name, norm in norms.items()}
