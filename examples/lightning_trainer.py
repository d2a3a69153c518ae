"""Lightning's Trainer and one callback. Run it: python examples/lightning_trainer.py

It needs the extra for Lightning: pip install 'steadydecay[lightning]'.
"""

import logging
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from tiny_transformer import LR, STEPS, WEIGHT_DECAY, TinyTransformer, report, share_of_peak, text_batches
from torch import Tensor

import steadydecay as sd
from steadydecay.integrations.lightning import SteadyDecayCallback


class LanguageModel(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = TinyTransformer()
        self.norms: list[float] = []

    def training_step(self, blocks: Tensor) -> Tensor:
        return self.model(blocks)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        # The callback has logged these values, which loggers (TensorBoard, W&B, CSV) also receive.
        self.norms.append(self.trainer.callback_metrics["weight_norm/hidden"].item())

    def configure_optimizers(self) -> Any:
        groups = sd.param_groups(self, "adamw", lr=LR, weight_decay=WEIGHT_DECAY)
        optimizer = torch.optim.AdamW(groups)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def train(corrected: bool) -> None:
    torch.manual_seed(0)
    module = LanguageModel()
    # rule=None logs the norms without changing the decay.
    callback = SteadyDecayCallback(rule="corrected" if corrected else None)  # the line
    trainer = Trainer(
        max_steps=STEPS,
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, text_batches())
    report(corrected, module.norms[STEPS // 2], module.norms[-1])


if __name__ == "__main__":
    # Suppress hints about workers and devices.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    train(corrected=False)
    train(corrected=True)
