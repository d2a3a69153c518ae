"""A loop under Accelerate, with gradient accumulation. Run it: python examples/accelerate_loop.py

It needs the extra for Hugging Face: pip install 'steadydecay[hf]'.
"""

import torch
from accelerate import Accelerator
from tiny_transformer import (
    BATCH,
    LR,
    STEPS,
    WEIGHT_DECAY,
    TinyTransformer,
    hidden_norm,
    report,
    share_of_peak,
    text_batches,
)

import steadydecay as sd

ACCUMULATION = 2


def train(corrected: bool) -> None:
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATION)
    model = TinyTransformer()
    optimizer = torch.optim.AdamW(sd.param_groups(model, "adamw", lr=LR, weight_decay=WEIGHT_DECAY))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
    batches = text_batches(BATCH // ACCUMULATION)
    model, optimizer, batches, scheduler = accelerator.prepare(model, optimizer, batches, scheduler)
    if corrected:
        sd.correct_weight_decay(optimizer)  # the one line, which may also come before prepare
    norms = []
    for blocks in batches:
        with accelerator.accumulate(model):
            accelerator.backward(model(blocks))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            if accelerator.sync_gradients:
                norms.append(hidden_norm(optimizer))
    report(corrected, norms[STEPS // 2], norms[-1])


if __name__ == "__main__":
    train(corrected=False)
    train(corrected=True)
