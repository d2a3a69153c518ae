"""The GPT's recipe: the paper's values, what follows from one field, and a first step on real token shards."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steadydecay.groups.prediction import applied_decay, stepped_by
from steadydecay.recipes.checkpoint import load_latest
from steadydecay.recipes.corpus import SHARD_VOCABULARY
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import SIZES, GPTRecipe, gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.overrides import parsed_overrides
from steadydecay.recipes.recipe import require_legal
from steadydecay.recipes.token_shards import write_shard
from steadydecay.recipes.train import train
from steadydecay.run_log.reader import read_log
from steadydecay.run_log.record import json_line


def recipe_of(*texts: str, size: str = "mini", optimizer: str = "scionc") -> GPTRecipe:
    return gpt_recipe(size, optimizer, parsed_overrides(GPTRecipe, texts))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds_for_every_optimizer(size: str, optimizer: str) -> None:
    recipe = recipe_of(size=size, optimizer=optimizer)
    assert (recipe.size, recipe.optimizer, recipe.seed, recipe.data) == (size, optimizer, 0, None)
    require_legal(recipe)
    json_line(asdict(recipe))
    with torch.device("meta"):
        model = GPT(256, recipe.layers, recipe.heads, recipe.width)
        built = OPTIMIZERS[optimizer](model, recipe)
    assert len(built.param_groups) == 2
    for group in built.param_groups:
        assert applied_decay(group, stepped_by(built, group)) == pytest.approx(recipe.decay_per_step)


def test_124m_has_the_paper_s_values() -> None:
    recipe = recipe_of(size="124m")
    assert (recipe.layers, recipe.heads, recipe.width) == (12, 6, 768)
    assert (recipe.length, recipe.batch_size) == (1024, 256)
    assert recipe.steps == 100_000_000_000 // (256 * 1024)
    assert (recipe.lr, recipe.output_lr, recipe.decay_per_step) == (50 * 2**-12, 3000 * 2**-12, 2**-12)
    assert (recipe.momentum, recipe.warmup_steps, recipe.clip) == (0.9, 0, None)
    same = replace(recipe_of(size="124m", optimizer="scion"), optimizer="scionc")
    assert same == recipe, "Scion and ScionC differ in the decay rule alone"


def test_other_fields_follow_from_steps() -> None:
    recipe = recipe_of("steps=4000", optimizer="adamw")
    derived = (recipe.warmup_steps, recipe.evaluate_every, recipe.checkpoint_every, recipe.layers_every)
    assert derived == (200, 400, 800, 40)
    assert recipe_of("steps=4000").warmup_steps == 0
    assert recipe_of("steps=100000").checkpoint_every == 1000
    short = recipe_of("steps=1")
    assert (short.evaluate_every, short.checkpoint_every, short.layers_every) == (1, 1, 1)
    assert recipe_of().layers_every == 10, "sd.watch must stay below 2 % of the smallest model's run"


def test_a_field_that_is_given_is_not_derived() -> None:
    given = ["steps=4000", "warmup_steps=7", "evaluate_every=9", "checkpoint_every=11", "layers_every=13", "clip=2"]
    recipe = recipe_of(*given, "momentum=0.8", "lr=0.5", "compile=true", "data=some/where")
    values = (recipe.warmup_steps, recipe.evaluate_every, recipe.checkpoint_every, recipe.layers_every, recipe.clip)
    assert values == (7, 9, 11, 13, 2.0)
    assert (recipe.momentum, recipe.lr, recipe.compile, recipe.data) == (0.8, 0.5, True, "some/where")


def test_the_output_layer_of_adamw_has_the_lr_of_all() -> None:
    assert recipe_of("lr=0.5", optimizer="adamw").output_lr == 0.5
    assert recipe_of("lr=0.5").output_lr == recipe_of().output_lr != 0.5


def test_clipping_is_off_for_scion_and_can_be_turned_off_for_adamw() -> None:
    assert (recipe_of(optimizer="adamw").clip, recipe_of(optimizer="scion").clip) == (1.0, None)
    assert recipe_of("clip=none", optimizer="adamw").clip is None


@pytest.mark.parametrize(
    ("size", "given", "message"),
    [
        ("mni", {}, r"size is 'mni'; did you mean 'mini'\?"),
        ("huge", {}, r"size is 'huge'; it must be one of mini, small, 124m"),
        ("mini", {"accumulate": 3}, r"accumulate is 3; it must be a divisor of batch_size=16"),
        ("mini", {"accumulate": 0}, r"accumulate is 0; it must be a divisor"),
        ("mini", {"accumulate": -2}, r"accumulate is -2; it must be a divisor"),
        ("mini", {"evaluation_batches": 0}, r"evaluation_batches is 0; it must be in \[1"),
        ("mini", {"size": "small"}, r"override names 'size', .* \(--size\)"),
        ("mini", {"optimizer": "adamw"}, r"override names 'optimizer', .* \(--optimizer\)"),
    ],
)
def test_what_fits_no_recipe_is_refused(size: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        gpt_recipe(size, "scionc", given)


@pytest.mark.parametrize("text", ["lenght=3", "layer=3", "decay_per_steps=1"])
def test_a_typo_names_the_field(text: str) -> None:
    with pytest.raises(ValueError, match=r"which is not a field; did you mean '(length|layers|decay_per_step)'\?"):
        recipe_of(text)


# Data


def write_shards(folder: Path, tokens: int) -> None:
    generator = np.random.default_rng(0)
    for name in ("fine_train_000000.bin", "fine_val_000000.bin"):
        write_shard(folder / name, generator.integers(0, 50257, tokens))


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_accumulated_batches_are_the_batch(tmp_path: Path, accumulate: int) -> None:
    write_shards(tmp_path, 5000)
    recipe = recipe_of("batch_size=8", "length=16", f"data={tmp_path}", "evaluation_batches=3")
    data, split = recipe.load_data(), replace(recipe, accumulate=accumulate)
    for step in (0, 5, 90):
        parts = [split.train_batch(data, step, micro_step, 0, 1)[0] for micro_step in range(accumulate)]
        assert torch.equal(torch.cat(parts), recipe.train_batch(data, step, 0, 0, 1)[0])
    validation = [torch.cat([batch[0] for batch in one.validation_batches(data)]) for one in (split, recipe)]
    assert torch.equal(*validation)
    assert len(validation[0]) == 24


def test_124m_takes_a_step_on_real_shards(tmp_path: Path) -> None:
    write_shards(tmp_path, 3000)
    smaller = {"layers": 1, "width": 96, "length": 256, "batch_size": 2, "steps": 1, "evaluation_batches": 1}
    recipe = gpt_recipe("124m", "scionc", {"data": str(tmp_path), **smaller})
    train(recipe, tmp_path / "run")
    log = read_log(tmp_path / "run" / "run.jsonl")
    assert log.configuration["decay_per_step"] == 2**-12
    step, watched, validation = log.records
    assert watched["kind"] == "watch"
    assert step["loss"] == pytest.approx(np.log(SHARD_VOCABULARY), abs=0.5)
    assert np.isfinite(validation["loss"])
    loaded = load_latest(tmp_path / "run" / "checkpoints")
    assert loaded is not None
    torch.manual_seed(0)
    before = GPT(SHARD_VOCABULARY, 1, 6, 96).embedding.weight
    moved = (loaded[1]["model"]["embedding.weight"] - before * (1 - 2**-12)).abs()
    # A Sign step: γ/d for every entry of the tied layer.
    assert torch.allclose(moved[moved > 1e-4], torch.tensor(3000 * 2**-12 / 96), rtol=1e-3)
    assert (moved > 1e-4).float().mean() > 0.9


@pytest.mark.parametrize(("told", "tokens"), [(10**12, 10**12), (None, 9), ("x", 9), (10**30, 9), (3, 9)])
def test_blank_tokens_stand_where_those_of_a_log_are_gone(told: object, tokens: int) -> None:
    recipe = gpt_recipe("mini", "scionc", {"length": 8, "batch_size": 4})
    blank = recipe.data_like({"vocabulary_size": 64, "train_tokens": told})
    assert blank is not None and blank.train.token_count == tokens
    assert recipe.epoch_examples(blank) == (tokens - 1) // 8
    inputs, targets = recipe.train_batch(blank, 10**6, 0, 0, 1)
    assert inputs.shape == targets.shape == (4, 8) and not inputs.any()
