"""The tiny transformer that every example trains, on Python files of the interpreter. This is not an example itself."""

import sysconfig
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

FILES = ("argparse.py", "ast.py", "dataclasses.py", "pathlib.py", "subprocess.py", "typing.py")
CONTEXT = 32
BATCH = 4
STEPS = 500
# Both are large, because the run is short: norms reach their steady state by mid-run, in 1/(lr · decay) = 50 steps.
LR = 0.02
WEIGHT_DECAY = 1.0


def text_blocks() -> Tensor:
    """Return all files as byte tokens of shape (blocks, CONTEXT + 1), in a fixed random order."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    tokens = torch.frombuffer(bytearray(b"".join((folder / file).read_bytes() for file in FILES)), dtype=torch.uint8)
    blocks = tokens[: len(tokens) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1).long()
    return blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))]


def text_batches(batch: int = BATCH) -> DataLoader[Tensor]:
    """Yield the batches of STEPS steps. A smaller batch is for gradient accumulation."""
    return DataLoader(text_blocks()[: STEPS * BATCH], batch_size=batch)  # pyright: ignore[reportArgumentType]


class TinyTransformer(nn.Module):
    """A decoder of two layers over bytes. Called with blocks, it returns the loss of their next bytes."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.positions = nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.lm_head = nn.Linear(width, 256)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT), persistent=False)

    def forward(self, blocks: Tensor) -> Tensor:
        inputs, targets = blocks[:, :-1], blocks[:, 1:]
        hidden = self.embedding(inputs) + self.positions.weight
        logits = self.lm_head(self.layers(hidden, mask=self.get_buffer("mask"), is_causal=True))
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def share_of_peak(step: int) -> float:
    """Return the learning rate's share of its peak: constant until mid-run, then linear to zero."""
    return min(1.0, 2 * (1 - step / STEPS))


def hidden_norm(optimizer: torch.optim.Optimizer) -> float:
    """Return the Frobenius norm over all weights of the hidden layers."""
    hidden = [weight for group in optimizer.param_groups if group["role"] == "hidden" for weight in group["params"]]
    return float(nn.utils.get_total_norm(hidden))


def report(corrected: bool, at_mid_run: float, at_end: float) -> None:
    name = "corrected" if corrected else "constant"
    print(f"{name:9} decay: hidden weight norm {at_mid_run:6.2f} at mid-run, {at_end:6.2f} at the end", flush=True)
