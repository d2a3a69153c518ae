"""The two scales of the experiments: a few seconds a run on one CPU core, and the paper's models on GPUs."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from steadydecay.experiments.experiment import Part
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.named_recipes import RECIPES
from steadydecay.recipes.overrides import parsed_overrides
from steadydecay.recipes.recipe import Fields, Recipe

Scale = Literal["embedded", "paper"]


class Base(NamedTuple):
    """What all runs of a kind have in common at a scale.

    Attributes:
        size: a key of the recipe's SIZES.
        given: fields of every run.
        of_family: fields by the family of the optimizer, which a variant's own replace.
    """

    size: str
    given: Fields = MappingProxyType({})
    of_family: Mapping[str, Fields] = MappingProxyType({})


# Small enough for hundreds of runs, and with a decay so strong that half of a run is many times its memory 1/(2η).
EMBEDDED = {
    "vit": Base(
        "digits",
        {"layers": 2, "width": 48, "batch_size": 64, "steps": 500, "evaluate_every": 25},
        {
            "scion": {"lr": 0.012, "output_lr": 0.2, "decay_per_step": 0.006},
            "adam": {"lr": 4e-3, "decay_per_step": 4e-4},
        },
    ),
    "gpt": Base(
        "mini",
        {"layers": 2, "width": 64, "length": 64, "batch_size": 8, "precision": "float32", "steps": 400}
        | {"evaluation_batches": 32, "evaluate_every": 25},
    ),
}
PAPER = {"vit": Base("s16"), "gpt": Base("124m")}
SCALES: dict[str, dict[str, Base]] = {"embedded": EMBEDDED, "paper": PAPER}
KINDS = {"vit": "ViT", "gpt": "GPT"}
# A run of the paper takes days; the embedded ones seconds.
MOST_SEEDS_OF_PAPER = 3


def plain_recipe(scale: str, kind: str, given: Fields) -> Recipe:
    """ScionC at the scale's own settings, from which the variants follow."""
    return _recipe(scale, kind, "scionc", given)


def recipes_of(part: Part, scale: str, given: Mapping[str, Any]) -> dict[str, list[Recipe]]:
    """The recipes of a part by the label of their variant, one for each seed.

    Args:
        part: of an experiment.
        scale: a key of `SCALES`.
        given: fields for all runs, which replace the scale's but not those of a variant; "data" among them.

    Raises:
        ValueError: a field that is unknown or outside its range.
    """
    if part.kind is None:
        return {}
    given = {**(part.embedded if scale == "embedded" else {}), **given}
    seeds = part.seeds if scale == "embedded" else min(part.seeds, MOST_SEEDS_OF_PAPER)
    variants = part.variants(plain_recipe(scale, part.kind, given))
    return {
        label: [
            _recipe(scale, part.kind, fields["optimizer"], {**given, **_own(fields), "seed": seed})
            for seed in range(seeds)
        ]
        for label, fields in variants.items()
    }


def require_fields(kinds: Iterable[str], texts: Iterable[str]) -> dict[str, Any]:
    """Fields and values of texts such as "steps=20", which every kind of model must have.

    Raises:
        ValueError: as `parsed_overrides`.
    """
    given: dict[str, Any] = {}
    for kind in kinds:
        given |= parsed_overrides(RECIPES[kind], texts)
    return given


def _own(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "optimizer"}


def _recipe(scale: str, kind: str, optimizer: str, given: Fields) -> Recipe:
    base = SCALES[scale][kind]
    family = base.of_family.get(NAMED_OPTIMIZERS[optimizer].family, {})
    return recipe_for(RECIPES[kind], base.size, optimizer, {**base.given, **family, **given})
