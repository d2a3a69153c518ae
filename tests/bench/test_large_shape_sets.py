"""The models whose cost is computed have the parameters that their makers publish."""

import math

import pytest

from steadydecay.bench.large_shape_sets import COSTED_MODELS


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llama-8b", 8_030_261_248), ("llama-70b", 70_553_706_496), ("qwen3-30b-a3b", 30_532_122_624)],
)
def test_a_model_has_as_many_parameters_as_its_makers_say(name: str, expected: int) -> None:
    assert sum(math.prod(shape) for _, shape, _ in COSTED_MODELS[name].shapes.entries()) == expected


def test_a_token_passes_the_output_and_a_sixteenth_of_the_experts_but_not_the_embedding() -> None:
    model = COSTED_MODELS["qwen3-30b-a3b"]
    experts = 48 * 3 * 128 * 768 * 2048
    assert model.active_parameters() == 30_532_122_624 - 151936 * 2048 - experts * 15 // 16
