"""Overrides of a recipe from text, and what is legal in one."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.overrides import differences, nearest, parsed_overrides
from steadydecay.recipes.recipe import require_legal


@dataclass(frozen=True)
class Fields:
    """One field of each kind that an override can set."""

    steps: int
    lr: float
    name: str
    folder: Path
    compile: bool
    mode: Literal["fast", "exact"]
    clip: float | None
    limit: Optional[int]  # noqa: UP045


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("steps=12", "steps", 12),
        ("steps=1_000", "steps", 1000),
        ("steps=-1", "steps", -1),
        ("lr=3e-2", "lr", 0.03),
        ("lr=1", "lr", 1.0),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
        ("name=None", "name", "None"),
        ("folder=some/where", "folder", Path("some/where")),
        ("compile=true", "compile", True),
        ("compile=False", "compile", False),
        ("mode=exact", "mode", "exact"),
        ("clip=none", "clip", None),
        ("clip=None", "clip", None),
        ("clip=1", "clip", 1.0),
        ("limit=3", "limit", 3),
        ("limit=none", "limit", None),
        (" lr = 0.5 ", "lr", 0.5),
    ],
)
def test_an_override_has_the_type_of_its_field(text: str, name: str, value: object) -> None:
    parsed = parsed_overrides(Fields, [text])
    assert parsed == {name: value}
    assert type(parsed[name]) is type(value)


def test_several_overrides_and_the_last_of_one_name_counts() -> None:
    assert parsed_overrides(Fields, ["lr=1", "steps=2", "lr=3"]) == {"lr": 3.0, "steps": 2}
    assert parsed_overrides(Fields, []) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", r"override is 'lr'; it must have the form name=value, such as lr=0\.03"),
        ("stps=3", r"override names 'stps', which is not a field; did you mean 'steps'\?"),
        (
            "=3",
            r"override names '', which is not a field; it must be one of steps, lr, name, folder, compile, mode",
        ),
        ("zzz=3", r"override names 'zzz', which is not a field; it must be one of steps, lr"),
        ("steps=1.5", r"override steps is '1\.5'; it must be of type int"),
        ("steps=none", r"override steps is 'none'; it must be of type int"),
        ("lr=fast", r"override lr is 'fast'; it must be of type float"),
        ("clip=nothing", r"override clip is 'nothing'; it must be of type float"),
        ("compile=1", r"override compile is '1'; it must be one of true, false"),
        ("compile=tru", r"override compile is 'tru'; did you mean 'true'\?"),
        ("mode=fats", r"override mode is 'fats'; did you mean 'fast'\?"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        parsed_overrides(Fields, [text])


def test_the_nearest_name_or_all() -> None:
    assert nearest("scionnc", ["adamw", "scion", "scionc"]) == "; did you mean 'scionc'?"
    assert nearest("x", ["adamw", "scion"]) == "; it must be one of adamw, scion"
    assert nearest("lion", iter(["adamw", "scion"])) == "; did you mean 'scion'?"


def test_differences_name_the_field_and_both_values() -> None:
    old, new = {"lr": 0.04, "steps": 3, "gone": 1}, {"lr": 0.03, "steps": 3, "added": None, "more": "x"}
    assert differences(old, new) == ["lr: 0.04, now 0.03", "gone: 1, now None", "more: None, now 'x'"]
    assert differences(old, dict(old)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"steps is 0; it must be in \[1, inf\)"),
        ({"accumulate": 0}, r"accumulate is 0; it must be in \[1"),
        ({"evaluate_every": 0}, r"evaluate_every is 0; it must be in \[1"),
        ({"checkpoint_every": 0}, r"checkpoint_every is 0; it must be in \[1"),
        ({"layers_every": 0}, r"layers_every is 0; it must be in \[1"),
        ({"keep_checkpoints": 0}, r"keep_checkpoints is 0; it must be in \[1"),
        ({"warmup_steps": -1}, r"warmup_steps is -1; it must be in \[0, 10\)"),
        ({"warmup_steps": 10}, r"warmup_steps is 10; it must be in \[0, 10\): it is part of steps"),
        ({"seed": 2**64}, r"seed is 18446744073709551616; it must be"),
        ({"seed": -(2**63) - 1}, r"seed is -9223372036854775809; it must be"),
        ({"lr": 0.0}, r"lr is 0\.0; it must be in \(0, inf\)"),
        ({"output_lr": -1.0}, r"output_lr is -1\.0; it must be in \(0, inf\)"),
        ({"momentum": 1.0}, r"momentum is 1\.0; it must be in \[0, 1\): PyTorch's convention is 0\.9"),
        ({"decay_per_step": 1.0}, r"decay_per_step is 1\.0; it must be in \[0, 1\)"),
        ({"decay_per_step": float("nan")}, r"decay_per_step is nan; it must be in \[0, 1\)"),
        ({"clip": 0.0}, r"clip is 0\.0; it must be in \(0, inf\): clip=none turns clipping off"),
        ({"clip": -1.0}, r"clip is -1\.0; it must be in \(0, inf\)"),
    ],
)
def test_a_number_outside_its_range_is_refused(changes: dict[str, Any], message: str) -> None:
    recipe = gpt_recipe("mini", "scion", {"steps": 10})
    require_legal(recipe)
    with pytest.raises(ValueError, match=f"^{message}"):
        require_legal(replace(recipe, **changes))


def test_the_ends_of_the_ranges_are_legal() -> None:
    recipe = gpt_recipe("mini", "adamw", {"steps": 1, "momentum": 0.0, "decay_per_step": 0.0, "clip": None})
    for seed in (-(2**63), 2**64 - 1):
        require_legal(replace(recipe, seed=seed))
