"""The GPT recipe: one dial, the size; visible lines derive the rest (arXiv 2512.08217, Sec. 3.1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.recipe import Batch, nearest
from steadydecay.recipes.tokens import TokenData, batch, load_tokens, validation_batches

# mini: the settings of the demo, tuned on the embedded text (docs/log.md). 124m: the paper's, one epoch of 100B tokens.
SIZES: dict[str, dict[str, Any]] = {
    "mini": {"layers": 3, "heads": 2, "width": 128, "length": 128, "batch_size": 16, "steps": 600},
    "small": {"layers": 6, "heads": 6, "width": 384, "length": 256, "batch_size": 32, "steps": 5_000},
    "124m": {"layers": 12, "heads": 6, "width": 768, "length": 1024, "batch_size": 256, "steps": 381_469},
}
SCION_SETTINGS: dict[str, dict[str, Any]] = {
    "mini": {"lr": 0.03, "output_lr": 0.6, "decay_per_step": 0.015},
    "small": {"lr": 0.03, "output_lr": 0.6, "decay_per_step": 0.002},
    "124m": {"lr": 50 / 4096, "output_lr": 3000 / 4096, "decay_per_step": 1 / 4096},
}
# The paper has no AdamW run of the GPT; these are the usual values for GPT-2's size.
ADAM_SETTINGS: dict[str, dict[str, Any]] = {
    "mini": {"lr": 2e-3, "decay_per_step": 2e-4},
    "small": {"lr": 1e-3, "decay_per_step": 1e-4},
    "124m": {"lr": 6e-4, "decay_per_step": 6e-5},
}


@final
@dataclass(frozen=True)
class GPTRecipe:
    """A GPT on tokens. Fields as in `steadydecay.recipes.recipe.Recipe`, and:

    Attributes:
        size: where the other values came from.
        data: text file or folder, `.bin` shard or folder of them; None is the standard library's text.
        layers, heads, width: of the transformer.
        length: tokens per sequence.
        evaluation_batches: most validation batches per evaluation, each as large as one of training.
    """

    size: str
    optimizer: str
    data: str | None
    steps: int
    warmup_steps: int
    seed: int
    layers: int
    heads: int
    width: int
    length: int
    batch_size: int
    accumulate: int
    lr: float
    output_lr: float
    momentum: float
    decay_per_step: float
    clip: float | None
    precision: str
    compile: bool
    evaluate_every: int
    evaluation_batches: int
    checkpoint_every: int
    keep_checkpoints: int
    layers_every: int

    def load_data(self) -> TokenData:
        return load_tokens(self.data)

    def build_model(self, data: TokenData) -> nn.Module:
        return GPT(data.vocabulary_size, self.layers, self.heads, self.width)

    def train_batch(self, data: TokenData, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        return batch(
            data.train,
            length=self.length,
            batch_size=self.batch_size // self.accumulate,
            step=step * self.accumulate + micro_step,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def validation_batches(self, data: TokenData) -> Iterator[Batch]:
        rows = self.batch_size // self.accumulate
        return validation_batches(data.validation, length=self.length, batch_size=rows, count=self.evaluation_batches)


def gpt_recipe(size: str, optimizer: str, given: Mapping[str, Any]) -> GPTRecipe:
    """The recipe of a size and an optimizer; `given` fields replace derived ones, and others derive from them.

    Raises:
        ValueError: unknown size, or a batch that does not divide by `accumulate`.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}{nearest(size, SIZES)}")
    is_scion = optimizer.startswith("scion")
    values: dict[str, Any] = {"size": size, "optimizer": optimizer, "data": None, "seed": 0}
    values |= SIZES[size] | (SCION_SETTINGS if is_scion else ADAM_SETTINGS)[size] | dict(given)
    steps = values["steps"]
    values = {
        "output_lr": values["lr"],
        "momentum": 0.9,
        "warmup_steps": 0 if is_scion else steps // 20,
        "clip": None if is_scion else 1.0,
        "accumulate": 1,
        "precision": "auto",
        "compile": False,
        "evaluate_every": max(1, steps // 10),
        "evaluation_batches": 32,
        "checkpoint_every": max(1, min(1_000, steps // 5)),
        "keep_checkpoints": 2,
        "layers_every": max(1, steps // 100),
    } | values
    if values["accumulate"] < 1 or values["batch_size"] % values["accumulate"]:
        legal = f"a divisor of batch_size={values['batch_size']}"
        raise ValueError(f"accumulate is {values['accumulate']!r}; legal is {legal}")
    return GPTRecipe(**values)
