"""What `train` and `compare` make of a command line, for each recipe."""

from typing import Any

import pytest

from steadydecay.commands.compare import Compare
from steadydecay.commands.what import What


@pytest.mark.parametrize(("recipe", "size"), [("gpt", "mini"), ("vit", "digits")])
def test_without_a_size_it_is_the_first_of_the_recipe(recipe: str, size: str) -> None:
    assert What(recipe).recipe_of("scionc", 3).size == size
    assert What(recipe, size="mini").recipe_of("scionc", 3).size == "mini"


def test_a_size_of_another_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^size is '124m'; it must be one of digits, mini, s16"):
        What("vit", size="124m").recipe_of("scionc", 0)


@pytest.mark.parametrize(
    ("recipe", "names"),
    [("gpt", ["adamw", "scion", "scionc"]), ("vit", ["adamw", "adamc", "scion", "scionc", "scionc_cosine"])],
)
def test_without_names_the_recipe_s_own_optimizers_are_compared(
    recipe: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []

    def stop(recipes: Any, *_: Any, **__: Any) -> None:
        compared.extend(recipes)
        raise KeyboardInterrupt

    monkeypatch.setattr("steadydecay.commands.compare.compare", stop)
    with pytest.raises(KeyboardInterrupt):
        Compare(recipe, seed=[4]).run()
    assert [(one.optimizer, one.seed) for one in compared] == [(name, 4) for name in names]
