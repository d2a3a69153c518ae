"""The shape sets are the models they are named after."""

import math

import pytest

from steadydecay.bench.shape_sets import SHAPE_SETS, Entry
from steadydecay.bench.work import plain_work


def parameters(name: str) -> int:
    return sum(math.prod(shape) for _, shape, _ in SHAPE_SETS[name].entries())


@pytest.mark.parametrize(("name", "gigaflops"), [("gpt-mini", 102), ("gpt2-small", 1631), ("vit-s16", 207)])
def test_a_plain_step_takes_the_products_that_were_counted_by_hand(name: str, gigaflops: int) -> None:
    assert round(plain_work(SHAPE_SETS[name].entries()) / 1e9) == gigaflops


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-mini", 6 * 12 * 384**2 + 512 * 384 + 13 * 384),
        # 124 439 808 with 50257 tokens: the table is padded to 50304.
        ("gpt2-small", 124_439_808 + (50304 - 50257) * 768),
        ("gpt2-xl", 1_557_611_200 + (50304 - 50257) * 1600),
        ("vit-s16", 22_050_664),
        ("llama-1b", 1_235_814_400),
    ],
)
def test_a_set_has_as_many_parameters_as_its_model(name: str, expected: int) -> None:
    assert parameters(name) == expected


@pytest.mark.parametrize("name", SHAPE_SETS)
def test_names_are_unique_and_roles_fit_the_dimensions(name: str) -> None:
    entries = SHAPE_SETS[name].entries()
    assert len({entry.name for entry in entries}) == len(entries)
    assert all((len(entry.shape) == 1) == (entry.role == "vector") for entry in entries)
    assert {entry.role for entry in entries} >= {"hidden", "output", "vector"}


def test_the_attention_of_gpt_mini_is_24_squares_and_its_mlp_12_rectangles() -> None:
    shapes = [tuple(sorted(entry.shape)) for entry in SHAPE_SETS["gpt-mini"].entries() if entry.role == "hidden"]
    assert sorted(shapes) == [(384, 384)] * 24 + [(384, 1536)] * 12


def test_fewer_layers_leave_out_the_last_blocks() -> None:
    whole, cut = SHAPE_SETS["llama-1b"].entries(), SHAPE_SETS["llama-1b"].entries(layers=1)
    assert cut == whole[: len(cut)]
    assert cut[-1] == Entry("blocks.0.norm2_gain", (2048,), "vector")
