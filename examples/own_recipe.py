"""A recipe of your own: an MLP on a table, with the checkpoints, log, monitor and comparison of the library's recipes.

python examples/own_recipe.py FOLDER, then: steadydecay report FOLDER

It needs the extras of the command line and scikit-learn: pip install 'steadydecay[recipes,report,vit]'.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.nn import functional as F

from steadydecay.experiments.compare import compare
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.epoch_order import rows_of_rank, shuffled
from steadydecay.recipes.recipe import Batch, Recipe


class MLP(nn.Module):
    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, rows: Tensor, classes: Tensor) -> Tensor | dict[str, Tensor]:
        scores = self.head(self.second(self.first(rows).relu()).relu())
        loss = F.cross_entropy(scores, classes)
        return loss if self.training else {"loss": loss, "top1": (scores.argmax(1) == classes).float().mean()}


@dataclass(frozen=True, kw_only=True)
class TableRecipe(Recipe):
    SIZES: ClassVar[dict[str, Any]] = {"small": {"width": 64, "batch_size": 32, "steps": 200}}
    TUNED: ClassVar[dict[str, Any]] = {
        "small": {
            "adam": {"lr": 3e-3, "decay_per_step": 1e-3},
            "scion": {"lr": 0.03, "output_lr": 0.3, "decay_per_step": 0.02},
        }
    }
    width: int

    def load_data(self) -> dict[str, Batch]:
        table: Any = load_breast_cancer()
        rows, classes = torch.tensor(table.data).float(), torch.tensor(table.target)
        rows = (rows - rows.mean(0)) / rows.std(0)
        return {"train": (rows[100:], classes[100:]), "validation": (rows[:100], classes[:100])}

    def build_model(self, data: dict[str, Batch]) -> nn.Module:
        return MLP(inputs=30, width=self.width, classes=2)

    def train_batch(self, data: dict[str, Batch], step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        size = self.batch_size // self.accumulate
        first = (step * self.accumulate + micro_step) * size
        order = [
            shuffled(first + row, len(data["train"][0]), self.seed) for row in rows_of_rank(size, rank, world_size)
        ]
        return tuple(part[order] for part in data["train"])

    def validation_batches(self, data: dict[str, Batch]) -> Iterator[Batch]:
        yield data["validation"]


if __name__ == "__main__":
    recipes = [recipe_for(TableRecipe, "small", name, {}) for name in ("adamw", "scion", "scionc")]
    for summary in compare(recipes, Path(sys.argv[1])):
        print(f"{summary.optimizer}: {summary.top1:.1%} of the rows kept out of training are classified correctly")
