"""The GPT recipe. Its size is the only dial, and visible lines derive the rest (arXiv 2512.08217, Sec. 3.1)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from torch import nn

from steadydecay.recipes.corpus import load_tokens
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.recipe import Batch, Recipe
from steadydecay.recipes.tokens import TokenData, TokenPiece, TokenStream, batch, validation_batches, window_count

# Larger than the vocabulary of any tokenizer today; a log may contain any number.
LARGEST_VOCABULARY = 10**8
MOST_TOKENS = 10**15
# mini: the demo's settings, tuned on the embedded text (docs/log.md). 124m: the paper's, one epoch of 100B tokens.
SIZES: dict[str, dict[str, Any]] = {
    "mini": {"layers": 3, "heads": 2, "width": 128, "length": 128, "batch_size": 16, "steps": 600},
    "small": {"layers": 6, "heads": 6, "width": 384, "length": 256, "batch_size": 32, "steps": 5_000},
    "124m": {"layers": 12, "heads": 6, "width": 768, "length": 1024, "batch_size": 256, "steps": 381_469},
}
# By size, then by optimizer family. At 124m only Scion's settings are the paper's; Adam's are usual for GPT-2.
TUNED: dict[str, dict[str, dict[str, Any]]] = {
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
# One epoch as in the paper, in GPT-2's tokens (50,257, padded to a multiple of 128).
MEANT_DATA: dict[str, dict[str, Any]] = {
    "124m": {"meant_data": "FineWeb-Edu's 100BT sample", "vocabulary_size": 50_304, "train_tokens": 100_000_000_000},
}
# The number of sequences evaluated at once: the logits of the paper's batch of 256 would take 53 GB.
EVALUATION_ROWS = 16


@final
@dataclass(frozen=True, kw_only=True)
class GPTRecipe(Recipe):
    """A GPT trained on tokens. It has the fields of `Recipe` and these:

    Attributes:
        data: A text file or folder, or a `.bin` shard or folder of shards. None is the standard library's own text.
        layers, heads, width: The size of the transformer.
        length: The number of tokens per sequence.
        evaluation_batches: The largest number of validation batches of `batch_size` per evaluation.
    """

    SIZES = SIZES
    TUNED = TUNED
    ITEM = "tokens"
    MEANT_DATA = MEANT_DATA
    COUNTS = ("layers", "heads", "width", "length", "evaluation_batches")

    layers: int
    heads: int
    width: int
    length: int
    evaluation_batches: int = 32

    @property
    def items_per_example(self) -> int:
        return self.length

    def load_data(self) -> TokenData:
        return load_tokens(self.data)

    def build_model(self, data: TokenData) -> nn.Module:
        return GPT(data.vocabulary_size, self.layers, self.heads, self.width)

    def decided_by(self, data: TokenData) -> dict[str, Any]:
        return {"vocabulary_size": data.vocabulary_size, "train_tokens": data.train.token_count}

    def epoch_examples(self, data: TokenData) -> int:
        return window_count(data.train, self.length)

    def data_like(self, decided: Mapping[str, Any]) -> TokenData | None:
        size = decided.get("vocabulary_size")
        if not isinstance(size, int) or not 1 <= size <= LARGEST_VOCABULARY:
            return None
        tokens = decided.get("train_tokens")
        # Logs of older versions do not record the number of tokens. A broadcast zero takes no memory.
        count = self.length + 1
        if isinstance(tokens, int) and count <= tokens <= MOST_TOKENS:
            count = tokens
        blank = TokenStream("blank tokens", (TokenPiece("blank", np.broadcast_to(np.uint16(0), (count,))),), size)
        return TokenData(train=blank, validation=blank, vocabulary_size=size, name=str(self.data))

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
    """Return the GPT recipe of a size and an optimizer, as `recipe_for` does."""
    return recipe_for(GPTRecipe, size, optimizer, given)
