"""What is counted of a model, against closed forms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steadydecay.budgeting.counted_model import counted_model
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.recipe import Batch, Recipe
from steadydecay.recipes.vit.recipe import vit_recipe

LAYERS, HEADS, WIDTH, LENGTH, VOCABULARY = 2, 2, 32, 16, 64
TINY = {"layers": LAYERS, "heads": HEADS, "width": WIDTH, "length": LENGTH, "batch_size": 8, "precision": "float32"}


def tiny_gpt(optimizer: str = "scionc", **given: Any) -> tuple[Recipe, Any]:
    recipe = gpt_recipe("mini", optimizer, TINY | given)
    return recipe, recipe.data_like({"vocabulary_size": VOCABULARY})


def parameters_of(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def gpt_flops(layers: int, width: int, length: int, parameters: int) -> int:
    """Of a sequence: 6 for each weight and token, and 12 · width for each pair of tokens in each layer."""
    return 6 * parameters * length + 12 * layers * width * length**2


def test_a_gpt_has_six_flops_for_each_weight_and_token_and_those_of_attention() -> None:
    counted = counted_model(*tiny_gpt())
    parameters = 12 * LAYERS * WIDTH**2 + VOCABULARY * WIDTH
    assert parameters_of(counted.model) == parameters
    assert counted.flops_per_example == gpt_flops(LAYERS, WIDTH, LENGTH, parameters)
    assert counted.device == "meta"


def test_the_paper_s_gpt_has_its_124_million_parameters() -> None:
    recipe = gpt_recipe("124m", "scionc", {})
    counted = counted_model(recipe, recipe.data_like(recipe.MEANT_DATA["124m"]))
    assert parameters_of(counted.model) == 123_568_128
    assert counted.flops_per_example == gpt_flops(12, 768, 1024, 123_568_128)


def test_the_paper_s_vit_has_its_22_million_parameters_and_4_6_gflop_forward() -> None:
    recipe = vit_recipe("s16", "adamw", {})
    counted = counted_model(recipe, recipe.data_like(recipe.MEANT_DATA["s16"]))
    width, patches, pixels, classes = 384, 14**2, 3 * 16**2, 1000
    # Weights and biases of the four layers of a block, and gain and bias of its two LayerNorms.
    block = 12 * width**2 + (3 + 1 + 4 + 1) * width + 2 * 2 * width
    assert parameters_of(counted.model) == 12 * block + (pixels + 1) * width + 2 * width + (width + 1) * classes
    of_blocks = 6 * patches * 12 * 12 * width**2 + 12 * 12 * width * patches**2
    # Images have no gradient, so the patch layer has two products in place of three.
    assert counted.flops_per_example == of_blocks + 4 * patches * pixels * width + 6 * width * classes
    assert counted.flops_per_example / 3 == pytest.approx(2 * 4.6e9, rel=0.02)


@pytest.mark.parametrize(("optimizer", "copies"), [("adamw", 2), ("adamc", 2), ("scionc", 1), ("sgdw", 1), ("lion", 1)])
def test_state_is_so_many_times_the_weights(optimizer: str, copies: int) -> None:
    counted = counted_model(*tiny_gpt(optimizer))
    for parameter in counted.model.parameters():
        # Adam counts steps beside its moments.
        assert 0 <= counted.state_bytes_of(parameter) - copies * parameter.nbytes <= 8


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_of_both_recipes_is_counted_without_memory(optimizer: str) -> None:
    vit = vit_recipe("digits", optimizer, {"layers": 1, "width": 16, "heads": 1})
    images = vit.data_like({"images": "1 × 8 × 8", "classes_found": 3})
    for recipe, data in (tiny_gpt(optimizer), (vit, images)):
        counted = counted_model(recipe, data)
        assert counted.device == "meta" and counted.flops_per_example > 0
        assert all(counted.state_bytes_of(parameter) for parameter in counted.model.parameters())


class Halting(nn.Module):
    """An MLP that looks at a value, which no tensor without content has; it is nothing that meta tensors can do."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.first, self.head, self.looks = nn.Linear(6, 10), nn.Linear(10, 3), looks

    def forward(self, rows: Tensor, classes: Tensor) -> Tensor:
        if self.looks and rows.sum().item() < 0:
            raise AssertionError("rows are positive")
        return F.cross_entropy(self.head(self.first(rows).relu()), classes)


@dataclass(frozen=True, kw_only=True)
class OwnRecipe(Recipe):
    SIZES: ClassVar[dict[str, Any]] = {"one": {"batch_size": 4, "steps": 5, "precision": "float32"}}
    TUNED: ClassVar[dict[str, Any]] = {"one": {"adam": {"lr": 0.1, "decay_per_step": 0.01}}}
    looks: bool = False

    def load_data(self) -> Batch:
        return torch.ones(4, 6), torch.tensor([0, 1, 2, 0])

    def build_model(self, data: Batch) -> nn.Module:
        return Halting(self.looks)

    def train_batch(self, data: Batch, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        return tuple(part[: self.batch_size] for part in data)

    def validation_batches(self, data: Batch) -> Iterator[Batch]:
        yield data


@pytest.mark.parametrize("looks", [False, True])
def test_a_model_that_meta_tensors_cannot_run_is_counted_on_the_cpu(looks: bool) -> None:
    recipe = recipe_for(OwnRecipe, "one", "adamw", {"looks": looks})
    counted = counted_model(recipe, recipe.load_data())
    assert counted.device == ("cpu" if looks else "meta")
    assert counted.flops_per_example == 4 * 6 * 10 + 6 * 10 * 3
    assert sum(map(counted.state_bytes_of, counted.model.parameters())) >= 2 * 4 * (6 * 10 + 10 + 10 * 3 + 3)


def test_activations_are_what_autograd_keeps_of_an_mlp() -> None:
    recipe = recipe_for(OwnRecipe, "one", "adamw", {})
    activations = counted_model(recipe, recipe.load_data()).activations
    assert activations is not None
    # The rows, what comes out of relu, and the log-probabilities, in float32, and classes in int64.
    assert activations.of_example == 4 * (6 + 10 + 3) + 8
    assert activations.of_examples(10) == 10 * activations.of_example + 4, "and the number that the mean divides by"


def test_bfloat16_keeps_less_of_an_example_and_the_weights_once() -> None:
    single, half = (counted_model(*tiny_gpt(precision=one)).activations for one in ("float32", "auto"))
    assert single is not None and half is not None
    assert 0.4 < half.of_example / single.of_example < 0.9
    weights = 2 * (12 * LAYERS * WIDTH**2 + VOCABULARY * WIDTH)
    # Beside them the tables of the rotary positions.
    assert weights < half.of_weights < weights + single.of_weights


def test_torch_s_generator_stays_as_it_was() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    counted_model(*tiny_gpt())
    assert torch.equal(torch.get_rng_state(), before)
