"""The GPT recipe: one dial, the size; visible lines derive the rest (arXiv 2512.08217, Sec. 3.1)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from steadydecay.recipes.corpus import load_tokens
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.recipe import Batch, nearest
from steadydecay.recipes.tokens import TokenData, batch, validation_batches
from steadydecay.theory.validation import require_in

# mini: the settings of the demo, tuned on the embedded text (docs/log.md). 124m: the paper's, one epoch of 100B tokens.
SIZES: dict[str, dict[str, Any]] = {
    "mini": {"layers": 3, "heads": 2, "width": 128, "length": 128, "batch_size": 16, "steps": 600},
    "small": {"layers": 6, "heads": 6, "width": 384, "length": 256, "batch_size": 32, "steps": 5_000},
    "124m": {"layers": 12, "heads": 6, "width": 768, "length": 1024, "batch_size": 256, "steps": 381_469},
}
# Which optimizers share their settings: a correction changes the decay rule alone.
FAMILY_OF: dict[str, str] = {
    **dict.fromkeys(("scion", "scionc"), "scion"),
    **dict.fromkeys(("adamw", "adamc", "renormalized_adamw"), "adam"),
    "adam_l2": "adam_l2",
    **dict.fromkeys(("lion", "lionc"), "lion"),
    **dict.fromkeys(("sgdw", "sgdc"), "sgd"),
    **dict.fromkeys(("muon", "muonc"), "muon"),
}
# Steps that do not depend on the size of gradients need no clipping.
CLIPS: dict[str, float | None] = {"scion": None, "muon": None, "lion": None, "adam": 1.0, "adam_l2": 1.0, "sgd": 1.0}
MOMENTA: dict[str, float] = {"muon": 0.95}
# Sequences in memory at once in an evaluation: the logits of the paper's batch of 256 would take 53 GB.
EVALUATION_ROWS = 16
# By size, then by family. Only Scion's at 124m are the paper's; Adam's there are the usual ones for GPT-2.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "mini": {
        "scion": {"lr": 0.03, "output_lr": 0.6, "decay_per_step": 0.015},
        "adam": {"lr": 2e-3, "decay_per_step": 2e-4},
        "adam_l2": {"lr": 2e-3, "decay_per_step": 2e-6},
        "lion": {"lr": 5e-4, "decay_per_step": 2e-3},
        "sgd": {"lr": 0.3, "decay_per_step": 1e-3},
        "muon": {"lr": 0.02, "output_lr": 2e-3, "decay_per_step": 5e-3},
    },
    "small": {
        "scion": {"lr": 0.03, "output_lr": 0.6, "decay_per_step": 0.002},
        "adam": {"lr": 1e-3, "decay_per_step": 1e-4},
        "adam_l2": {"lr": 1e-3, "decay_per_step": 1e-6},
        "lion": {"lr": 2e-4, "decay_per_step": 5e-4},
        "sgd": {"lr": 0.3, "decay_per_step": 2e-4},
        "muon": {"lr": 0.02, "output_lr": 1e-3, "decay_per_step": 1e-3},
    },
    "124m": {
        "scion": {"lr": 50 / 4096, "output_lr": 3000 / 4096, "decay_per_step": 1 / 4096},
        "adam": {"lr": 6e-4, "decay_per_step": 6e-5},
        "adam_l2": {"lr": 6e-4, "decay_per_step": 6e-8},
        "lion": {"lr": 1e-4, "decay_per_step": 1e-4},
        "sgd": {"lr": 0.3, "decay_per_step": 3e-5},
        "muon": {"lr": 0.02, "output_lr": 6e-4, "decay_per_step": 2e-4},
    },
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
        evaluation_batches: most validation batches of `batch_size` per evaluation.
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
        rows = min(self.batch_size, EVALUATION_ROWS)
        count = math.ceil(self.evaluation_batches * self.batch_size / rows)
        return validation_batches(data.validation, length=self.length, batch_size=rows, count=count)


def gpt_recipe(size: str, optimizer: str, given: Mapping[str, Any]) -> GPTRecipe:
    """The recipe of a size and an optimizer; `given` fields replace derived ones, and others derive from them.

    Raises:
        ValueError: unknown size or optimizer, `given` has size or optimizer, no evaluation batch, or a batch that does
            not divide by `accumulate`.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}{nearest(size, SIZES)}")
    for name in {"size", "optimizer"} & given.keys():
        remedy = f"other fields derive from it, so give it as the argument {name} (--{name})"
        raise ValueError(f"override names {name!r}; legal are fields other than size and optimizer: {remedy}")
    if optimizer not in FAMILY_OF:
        raise ValueError(f"optimizer is {optimizer!r}{nearest(optimizer, FAMILY_OF)}")
    family = FAMILY_OF[optimizer]
    values: dict[str, Any] = {"size": size, "optimizer": optimizer, "data": None, "seed": 0}
    values |= SIZES[size] | SETTINGS[size][family] | dict(given)
    steps = values["steps"]
    values = {
        "output_lr": values["lr"],
        "momentum": MOMENTA.get(family, 0.9),
        "warmup_steps": 0 if family == "scion" else steps // 20,
        "clip": CLIPS[family],
        "accumulate": 1,
        "precision": "auto",
        "compile": False,
        "evaluate_every": max(1, steps // 10),
        "evaluation_batches": 32,
        "checkpoint_every": max(1, min(1_000, steps // 5)),
        "keep_checkpoints": 2,
        # A measured step costs a tenth of one of the smallest size (benchmarks/watch_cost.py).
        "layers_every": max(min(10, steps), steps // 100),
    } | values
    if values["accumulate"] < 1 or values["batch_size"] % values["accumulate"]:
        legal = f"a divisor of batch_size={values['batch_size']}"
        raise ValueError(f"accumulate is {values['accumulate']!r}; legal is {legal}")
    require_in("evaluation_batches", values["evaluation_batches"], 1, include_low=True)
    return GPTRecipe(**values)
