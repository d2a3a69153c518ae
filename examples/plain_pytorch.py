"""A PyTorch training loop with one additional line. Run it: python examples/plain_pytorch.py"""

import torch
from tiny_transformer import (
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


def train(corrected: bool) -> None:
    torch.manual_seed(0)
    model = TinyTransformer()
    # Groups with roles identify the output layer, whose decay stays constant.
    optimizer = torch.optim.AdamW(sd.param_groups(model, "adamw", lr=LR, weight_decay=WEIGHT_DECAY))
    if corrected:
        sd.correct_weight_decay(optimizer)  # the line
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
    at_mid_run = 0.0
    for step, blocks in enumerate(text_batches()):
        model(blocks).backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step == STEPS // 2:
            at_mid_run = hidden_norm(optimizer)
    report(corrected, at_mid_run, hidden_norm(optimizer))


if __name__ == "__main__":
    train(corrected=False)
    train(corrected=True)
