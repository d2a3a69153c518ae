"""What each device holds, against closed forms."""

from typing import Any

import pytest

from steadydecay.budgeting.counted_model import CountedModel, counted_model
from steadydecay.budgeting.device_shares import cost_of_step, device_share, state_bytes
from steadydecay.norms import norm_for
from steadydecay.recipes.gpt.recipe import gpt_recipe

TINY = {"layers": 1, "heads": 1, "width": 32, "length": 8, "batch_size": 8, "precision": "float32"}
WEIGHTS = 4 * (12 * 32**2 + 64 * 32)


def counted_gpt(optimizer: str) -> CountedModel:
    recipe = gpt_recipe("mini", optimizer, TINY)
    return counted_model(recipe, recipe.data_like({"vocabulary_size": 64}))


def test_one_device_holds_all() -> None:
    counted = counted_gpt("adamw")
    share = device_share(counted, 8, 1, "ddp")
    assert (share.weight_bytes, share.gradient_bytes) == (WEIGHTS, WEIGHTS)
    assert share.state_bytes == state_bytes(counted) == pytest.approx(2 * WEIGHTS, rel=1e-3)
    assert counted.activations is not None and share.activation_bytes == counted.activations.of_examples(8)
    assert share.multiplications == 0


def test_ddp_shares_scion_s_state_and_products_and_nothing_else() -> None:
    counted = counted_gpt("scionc")
    share, alone = (device_share(counted, 8, devices, "ddp") for devices in (4, 1))
    # Gradients lie in the buckets of DistributedDataParallel, too.
    assert (share.weight_bytes, share.gradient_bytes) == (WEIGHTS, 2 * WEIGHTS)
    assert (alone.state_bytes, share.state_bytes) == (WEIGHTS, WEIGHTS // 4)
    assert alone.multiplications / 4 <= share.multiplications < alone.multiplications
    assert counted.activations is not None and share.activation_bytes == counted.activations.of_examples(2)
    assert device_share(counted_gpt("adamw"), 8, 4, "ddp").state_bytes == pytest.approx(2 * WEIGHTS, rel=1e-3)


@pytest.mark.parametrize(("optimizer", "copies"), [("adamw", 2), ("scionc", 1)])
def test_fsdp_cuts_weights_gradients_and_state(optimizer: str, copies: int) -> None:
    share = device_share(counted_gpt(optimizer), 8, 4, "fsdp")
    assert (share.weight_bytes, share.gradient_bytes) == (WEIGHTS // 4, WEIGHTS // 4)
    assert share.state_bytes == pytest.approx(copies * WEIGHTS / 4, rel=2e-3)


def test_the_products_of_a_step_are_those_of_each_matrix_s_norm() -> None:
    counted = counted_gpt("scionc")
    spectral: Any = norm_for("spectral", 2)
    block = counted.model.get_submodule("blocks.0")
    qkv: Any = block.get_parameter("attention.qkv")
    matrices = [*qkv.unbind(), block.get_parameter("attention.projection.weight")]
    matrices += [block.get_parameter(f"mlp.{name}.weight") for name in ("up", "down")]
    expected = sum(spectral.lmo_cost(one.detach()).multiplications for one in matrices)
    assert cost_of_step(counted, 1, "ddp").multiplications == [expected]
