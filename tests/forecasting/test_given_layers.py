"""Layers as text."""

from typing import Any

import pytest

from steadydecay.forecasting.given_layers import given_layers


@pytest.mark.parametrize(
    ("text", "shape", "settings", "count"),
    [
        ("768x512", (768, 512), {"role": "hidden"}, 1),
        ("768X512", (768, 512), {"role": "hidden"}, 1),
        ("768×512", (768, 512), {"role": "hidden"}, 1),
        ("768", (768,), {"role": "vector"}, 1),
        ("3x768x768", (3, 768, 768), {"role": "hidden"}, 1),
        ("64x32x3x3", (64, 32, 3, 3), {"role": "conv"}, 1),
        ("64x32x3:conv", (64, 32, 3), {"role": "conv"}, 1),
        ("768x512:12", (768, 512), {"role": "hidden"}, 12),
        ("768x512:sign", (768, 512), {"role": "hidden", "norm": "sign"}, 1),
        ("768x512:2:output:col_norm", (768, 512), {"role": "output", "norm": "col_norm"}, 2),
        ("768:sign", (768,), {"role": "vector", "norm": "sign"}, 1),
        ("768x512:ColNorm", (768, 512), {"role": "hidden", "norm": "col_norm"}, 1),
    ],
)
def test_a_text_says_shape_role_norm_and_count(
    text: str, shape: tuple[int, ...], settings: dict[str, Any], count: int
) -> None:
    given = given_layers([text])
    ((name, parameter),) = given.model.named_parameters()
    assert (tuple(parameter.shape), parameter.device.type) == (shape, "meta")
    assert given.overrides == {name: settings}
    assert given.counts == {name: count}


def test_each_text_is_a_parameter_of_its_own() -> None:
    given = given_layers(["4x4", "4x4:sign", "4"])
    assert [name for name, _ in given.model.named_parameters()] == ["4x4", "4x4:sign", "4"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["768x"], "shape is '768x'; it must be 1 to 5 whole numbers"),
        ([""], "shape is ''; it must be 1 to 5 whole numbers"),
        (["768x0"], "shape is '768x0'; it must be"),
        (["-3x3"], "shape is '-3x3'; it must be"),
        (["3.5x3"], r"shape is '3\.5x3'; it must be"),
        (["²x3"], "shape is '²x3'; it must be"),
        (["1x2x3x4x5x6"], "shape is '1x2x3x4x5x6'; it must be"),
        (["99999999999999999999x3"], "shape is '99999999999999999999x3'; it must be"),
        (["999999999999x999999999999"], "entries; it must have at most 2⁴⁸"),
        (["4x4:spectal"], "'spectal' is not a role, norm or count; did you mean 'spectral'"),
        (["4x4:"], "'' is not a role, norm or count"),
        (["4x4:0"], "'0' is not a role, norm or count"),
        (["4x4:2:3"], "shape is '4x4:2:3', which repeats an option"),
        (["4x4:sign:spectral"], "repeats an option"),
        (["4x4", "4x4"], "shape '4x4' is given twice; give it once with a count: 4x4:2"),
        (["4:spectral"], "shape is '4:spectral' with 1 dimensions; for 'spectral' it must have 2 or more"),
        (["4:hidden"], "with 1 dimensions; for 'spectral' it must have 2 or more"),
        (["4x4:conv"], "with 2 dimensions; for 'spectral_conv' it must have 3 or more"),
    ],
)
def test_a_malformed_text_is_named_with_what_is_legal(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_layers(texts)
