"""Runs of a tiny GPT on real text: what they log, clip and accumulate, and how they stop when they diverge."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from steadydecay.recipes.checkpoint import checkpoints, load_latest
from steadydecay.recipes.divergence import NonFiniteError
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.train import train
from steadydecay.run_log.reader import read_log
from steadydecay.schedules.shapes import cosine

Make = Callable[..., GPTRecipe]
COMPARED = ("adamw", "scion", "scionc")


pytestmark = pytest.mark.usefixtures("one_cpu_thread")


@pytest.fixture(scope="module")
def tiny(text: Path) -> Make:
    """Recipes of a model with 18 thousand parameters on three modules of the standard library."""
    small = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "evaluation_batches": 4}

    def make(optimizer: str = "scionc", **given: Any) -> GPTRecipe:
        return gpt_recipe("mini", optimizer, {"data": str(text), "precision": "float32", **small, **given})

    return make


def records_of(folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    return [record for record in read_log(folder / "run.jsonl").records if record["kind"] == kind]


def losses_of(folder: Path, kind: str = "step") -> list[float]:
    return [record["loss"] for record in records_of(folder, kind)]


def model_of(folder: Path) -> dict[str, Tensor]:
    loaded = load_latest(folder / "checkpoints")
    assert loaded is not None
    return loaded[1]["model"]


def are_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def spy(monkeypatch: pytest.MonkeyPatch, name: str, watch: Callable[[nn.Module, torch.optim.Optimizer], None]) -> None:
    """Let `watch` see model and optimizer of runs with the optimizer `name`, and hook into them."""
    trained = OPTIMIZERS[name]

    def built(model: nn.Module, recipe: Any) -> torch.optim.Optimizer:
        optimizer = trained.build(model, recipe)
        watch(model, optimizer)
        return optimizer

    monkeypatch.setitem(OPTIMIZERS, name, replace(trained, build=built))


# The log


@pytest.mark.parametrize("optimizer", COMPARED)
def test_a_run_learns_and_logs_every_step(tmp_path: Path, tiny: Make, optimizer: str) -> None:
    recipe = tiny(optimizer, steps=200, evaluate_every=60, layers_every=80, checkpoint_every=70)
    train(recipe, tmp_path)
    configuration = read_log(tmp_path / "run.jsonl").configuration
    found = {"torch": torch.__version__, "world_size": 1, "weight_dtype": "float32", "vocabulary_size": 256}
    found |= {"item": "tokens", "items_per_step": recipe.batch_size * recipe.length}
    assert configuration.pop("device").startswith("cpu, ") and configuration.pop("train_tokens") > 0
    assert configuration == asdict(recipe) | found
    losses, validations = losses_of(tmp_path), losses_of(tmp_path, "validation")
    assert losses[0] == pytest.approx(math.log(256), abs=0.1)
    assert sum(losses[-20:]) / 20 < losses[0] - 1.5
    assert validations[-1] < validations[0] < losses[0]
    assert [record["step"] for record in records_of(tmp_path)] == list(range(1, 201))
    assert [record["step"] for record in records_of(tmp_path, "validation")] == [60, 120, 180, 200]
    assert [record["step"] for record in records_of(tmp_path, "watch")] == [80, 160, 200]
    assert [one.step for one in checkpoints(tmp_path / "checkpoints")] == [200, 140]
    assert {path.name for path in tmp_path.iterdir()} == {"run.jsonl", "checkpoints"}


@pytest.mark.parametrize(("optimizer", "exponent"), [("adamw", 1), ("scion", 1), ("scionc", 2)])
def test_each_step_logs_what_it_was_taken_with(tmp_path: Path, tiny: Make, optimizer: str, exponent: int) -> None:
    recipe = tiny(optimizer, steps=20, warmup_steps=3)
    train(recipe, tmp_path)
    for record in records_of(tmp_path):
        share = cosine(record["step"] - 1, 20, 3)
        assert record["lr"]["hidden"] == pytest.approx(share * recipe.lr)
        assert record["lr"]["output"] == pytest.approx(share * recipe.output_lr)
        assert record["decay"]["hidden"] == pytest.approx(share**exponent * recipe.decay_per_step)
        assert record["decay"]["output"] == pytest.approx(share * recipe.decay_per_step)
        assert 0 < record["seconds"] < 60
    squares = {"hidden": 0.0, "output": 0.0}
    for name, weight in model_of(tmp_path).items():
        if name != "lm_head.weight":
            squares["output" if name == "embedding.weight" else "hidden"] += float(weight.double().square().sum())
    last = records_of(tmp_path)[-1]
    assert last["weight_norm"] == pytest.approx({role: math.sqrt(square) for role, square in squares.items()})
    watched = records_of(tmp_path, "watch")[-1]
    layers = watched["layers"].items()
    of_layers = math.hypot(*(measures["weight_norm"] for name, measures in layers if name.startswith("blocks")))
    assert of_layers == pytest.approx(last["weight_norm"]["hidden"])
    for measure in ("lr", "decay", "weight_norm", "predicted_norm"):
        of_groups = {role: measures.get(measure) for role, measures in watched["groups"].items()}
        assert of_groups == pytest.approx(last[measure], rel=1e-6), "watch and step say the same"


def test_the_logged_gradient_norm_is_of_the_step_s_gradient(tmp_path: Path, tiny: Make) -> None:
    recipe = tiny("adamw", steps=1, warmup_steps=0)
    train(recipe, tmp_path)
    data = recipe.load_data()
    torch.manual_seed(recipe.seed)
    model = recipe.build_model(data)
    loss = model(*recipe.train_batch(data, 0, 0, 0, 1))
    loss.backward()
    norms = {"hidden": 0.0, "output": 0.0}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        norms["output" if name == "embedding.weight" else "hidden"] += float(parameter.grad.double().square().sum())
    (record,) = records_of(tmp_path)
    assert record["loss"] == loss.item()
    assert record["gradient_norm"] == pytest.approx({role: math.sqrt(square) for role, square in norms.items()})


def test_validation_is_the_mean_over_the_validation_split(tmp_path: Path, tiny: Make) -> None:
    recipe = tiny(steps=2, length=500, evaluation_batches=10_000)
    train(recipe, tmp_path)
    data = recipe.load_data()
    model = recipe.build_model(data)
    model.load_state_dict(model_of(tmp_path))
    with torch.no_grad():
        batches = [(model(*batch).item(), len(batch[0])) for batch in recipe.validation_batches(data)]
    assert batches[-1][1] < batches[0][1], "the last batch is smaller and must weigh less"
    mean = sum(loss * rows for loss, rows in batches) / sum(rows for _, rows in batches)
    assert losses_of(tmp_path, "validation")[-1] == pytest.approx(mean, rel=1e-6)


# What must not change a run, and what must


def test_the_same_recipe_is_the_same_run_and_another_seed_is_another(tmp_path: Path, tiny: Make) -> None:
    for name, seed in {"first": 0, "second": 0, "third": 1}.items():
        train(tiny(steps=10, seed=seed), tmp_path / name)
    assert losses_of(tmp_path / "first") == losses_of(tmp_path / "second") != losses_of(tmp_path / "third")
    assert are_equal(model_of(tmp_path / "first"), model_of(tmp_path / "second"))
    assert losses_of(tmp_path / "first")[0] != losses_of(tmp_path / "third")[0], "weights and order depend on the seed"


def test_evaluations_and_checkpoints_do_not_change_training(tmp_path: Path, tiny: Make) -> None:
    train(tiny(steps=12, evaluate_every=1, checkpoint_every=1, layers_every=1), tmp_path / "often")
    train(tiny(steps=12, evaluate_every=12, checkpoint_every=12, layers_every=12), tmp_path / "once")
    assert losses_of(tmp_path / "often") == losses_of(tmp_path / "once")
    assert are_equal(model_of(tmp_path / "often"), model_of(tmp_path / "once"))


@pytest.mark.parametrize("optimizer", COMPARED)
def test_accumulated_steps_are_the_same_steps(tmp_path: Path, tiny: Make, optimizer: str) -> None:
    for accumulate in (1, 2, 4):
        train(tiny(optimizer, steps=10, accumulate=accumulate), tmp_path / f"{accumulate}")
    for accumulate in (2, 4):
        for kind in ("step", "validation"):
            assert losses_of(tmp_path / f"{accumulate}", kind) == pytest.approx(
                losses_of(tmp_path / "1", kind), rel=1e-4
            )


def test_bfloat16_trains_float32_weights(tmp_path: Path, tiny: Make) -> None:
    for precision in ("float32", "bfloat16"):
        train(tiny(steps=10, precision=precision), tmp_path / precision)
    low, high = losses_of(tmp_path / "bfloat16"), losses_of(tmp_path / "float32")
    assert low != high
    assert low == pytest.approx(high, abs=0.1)
    assert {weight.dtype for weight in model_of(tmp_path / "bfloat16").values()} == {torch.float32}


def test_gradients_are_clipped_to_the_norm_and_logged_as_they_were(
    tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        def measure(*_: object) -> None:
            taken.append(get_total_norm([p.grad for p in model.parameters() if p.grad is not None]).item())

        optimizer.register_step_pre_hook(measure)

    spy(monkeypatch, "adamw", watch)
    for clip in (0.5, 1e6, None):
        train(tiny("adamw", steps=6, clip=clip), tmp_path / f"{clip}")
        logged = [math.hypot(*record["gradient_norm"].values()) for record in records_of(tmp_path / f"{clip}")]
        assert min(logged) > 0.5
        assert taken == pytest.approx([0.5] * 6 if clip == 0.5 else logged, rel=1e-4)
        taken.clear()


# Divergence


def break_gradient(monkeypatch: pytest.MonkeyPatch, optimizer: str, name: str, step: int) -> None:
    """One entry of one gradient is infinite in one step."""

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        backward_passes: list[Tensor] = []

        def infinite(gradient: Tensor) -> Tensor:
            backward_passes.append(gradient)
            worst = torch.zeros_like(gradient)
            worst.view(-1)[3] = math.inf
            return gradient + worst if len(backward_passes) == step else gradient

        model.get_parameter(name).register_hook(infinite)

    spy(monkeypatch, optimizer, watch)


@pytest.mark.parametrize("optimizer", COMPARED)
def test_an_infinite_gradient_stops_the_run_and_spares_the_checkpoint(
    tmp_path: Path, tiny: Make, optimizer: str
) -> None:
    recipe = tiny(optimizer, steps=9, checkpoint_every=3, clip=1.0)
    train(recipe, tmp_path / "good")
    with pytest.MonkeyPatch.context() as patch:
        break_gradient(patch, optimizer, "blocks.0.mlp.up.weight", step=8)
        with pytest.raises(
            NonFiniteError, match=r"^NaN or infinity at step 8 \(loss [0-9.]+\) in the gradient of 'blocks"
        ) as caught:
            train(recipe, tmp_path / "bad")
    assert (caught.value.step, caught.value.parameters) == (8, ["blocks.0.mlp.up.weight"])
    *steps, failure = read_log(tmp_path / "bad" / "run.jsonl").records
    assert failure == {"kind": "failure", "step": 8, "loss": failure["loss"], "message": str(caught.value)}
    assert [record["step"] for record in steps if record["kind"] == "step"] == list(range(1, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_latest(tmp_path / "bad" / "checkpoints")
    assert loaded is not None and loaded[0] == 6
    # With the cause gone the run goes on from there as if nothing had been.
    train(recipe, tmp_path / "bad")
    assert losses_of(tmp_path / "bad") == losses_of(tmp_path / "good")
    assert are_equal(model_of(tmp_path / "bad"), model_of(tmp_path / "good"))
    assert records_of(tmp_path / "bad", "failure") == []


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        losses: list[Tensor] = []

        def not_a_number(module: nn.Module, batch: object, loss: Tensor) -> Tensor:
            losses.append(loss)
            return loss * math.nan if module.training and len(losses) > 2 else loss

        model.register_forward_hook(not_a_number)

    spy(monkeypatch, "scion", watch)
    with pytest.raises(
        NonFiniteError, match=r"^NaN or infinity at step 3 \(loss nan\) in the gradient of 'embedding.weight' \(5 "
    ):
        train(tiny("scion", steps=9, evaluate_every=9), tmp_path)
    (failure,) = records_of(tmp_path, "failure")
    assert failure["step"] == 3 and math.isnan(failure["loss"])


@pytest.mark.parametrize("optimizer", COMPARED)
def test_a_learning_rate_that_is_far_too_high_stops_the_run(tmp_path: Path, tiny: Make, optimizer: str) -> None:
    with pytest.raises(NonFiniteError, match=r"at step 2 .* Lower lr, or look at this step's batch"):
        train(tiny(optimizer, steps=9, lr=1e30, output_lr=1e30, checkpoint_every=1), tmp_path)
    loaded = load_latest(tmp_path / "checkpoints")
    assert loaded is not None and loaded[0] == 1


# Refusals


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "scionx"}, r"optimizer is 'scionx'; did you mean 'scion'\?"),
        ({"warmup_steps": 5}, r"warmup_steps is 5; it must be in \[0, 5\)"),
        ({"heads": 3}, r"width is 32; it must be a multiple of 2 · heads = 6"),
        ({"data": "absent"}, r"data is 'absent', which does not exist"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, tiny: Make, given: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f"^{message}"):
        train(replace(tiny(steps=5), **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()
