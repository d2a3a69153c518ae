"""Shapes of a schedule: values by hand, bounds, and every error."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.schedules.shapes import SHAPES, constant, cosine, linear, share_at, wsd

lengths = st.integers(1, 500)


def test_the_names() -> None:
    assert {"cosine": cosine, "linear": linear, "wsd": wsd, "constant": constant} == SHAPES


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        (linear, [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]),
        (partial(wsd, decay_steps=4), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (constant, [0.5, *[1.0] * 11]),
    ],
)
def test_shares_by_hand(shape: Callable[[int, int, int], float], shares: list[float]) -> None:
    assert [shape(step, 10, 2) for step in range(12)] == pytest.approx(shares)


def test_wsd_decays_over_a_fifth_of_what_follows_the_warm_up() -> None:
    shares = [wsd(step, 60, 10) for step in range(61)]
    assert shares[9:51] == [1.0] * 42
    assert shares[51:] == pytest.approx([1 - k / 10 for k in range(1, 11)])
    assert [wsd(step, 2) for step in range(3)] == [1.0, 1.0, 0.0]


@settings(deadline=None)
@given(name=st.sampled_from(sorted(SHAPES)), warmup_steps=st.integers(0, 50), rest=lengths, step=st.integers(0, 700))
def test_every_shape_warms_up_to_1_and_never_rises_again(name: str, warmup_steps: int, rest: int, step: int) -> None:
    steps = warmup_steps + rest
    share = partial(share_at, name, steps=steps, warmup_steps=warmup_steps)
    assert 0 <= share(step) <= 1
    assert share(warmup_steps) == 1.0
    if step < warmup_steps:
        assert share(step) == (step + 1) / warmup_steps
    else:
        assert share(step + 1) <= share(step)
    assert share(steps + step) == (1.0 if name == "constant" else 0.0)


def test_a_callable_is_asked_for_its_share_and_holds_its_last() -> None:
    asked = []

    def shape(step: int) -> float:
        asked.append(step)
        return 1 - step / 8

    assert [share_at(shape, step, 4) for step in (0, 3, 4, 5, 100)] == [1.0, 0.625, 0.5, 0.5, 0.5]
    assert asked == [0, 3, 4, 4, 4]


@pytest.mark.parametrize("share", [0, 1, 0.0, 1.0])
def test_both_ends_are_shares(share: float) -> None:
    assert share_at(lambda step: share, 0, 1) == share


BAD: list[tuple[dict[str, Any], str]] = [
    ({"steps": 0}, r"steps is 0; it must be in \[1, inf\)"),
    ({"steps": 4.0}, r"steps is 4\.0; it must be a whole number of optimizer steps"),
    ({"steps": "4"}, r"steps is '4'; it must be a whole number"),
    ({"warmup_steps": 10}, r"warmup_steps is 10; it must be in \[0, 10\): count optimizer steps"),
    ({"warmup_steps": -1}, r"warmup_steps is -1; it must be in \[0, 10\)"),
    ({"warmup_steps": 0.5}, r"warmup_steps is 0\.5; it must be a whole number"),
    ({"shape": "cosin"}, r"shape is 'cosin'; it must be one of 'cosine', 'linear', 'wsd', 'constant', or a callable"),
    ({"shape": 3}, r"shape is 3; it must be a name or a callable"),
    ({"shape": lambda step: 1.0, "warmup_steps": 2}, r"warmup_steps is 2; it must be 0 with a callable shape"),
    ({"shape": lambda step: 1.5}, r"shape\(3\) is 1\.5; it must be in \[0, 1\]: return a share of the peak"),
    ({"shape": lambda step: -0.1}, r"shape\(3\) is -0\.1; it must be in \[0, 1\]"),
    ({"shape": lambda step: float("nan")}, r"shape\(3\) is nan; it must be in \[0, 1\]"),
]


@pytest.mark.parametrize(("keys", "message"), BAD)
def test_errors_name_the_argument_its_value_and_the_remedy(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_at(**{"shape": "cosine", "step": 3, "steps": 10, **keys})
