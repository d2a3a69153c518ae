"""Shapes of a schedule: ends, warm-up, and what an integral of it must be."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.schedules.shapes import cosine


@settings(deadline=None)
@given(steps=st.integers(1, 10_000), data=st.data())
def test_it_starts_at_one_falls_and_ends_at_zero(steps: int, data: st.DataObject) -> None:
    assert cosine(0, steps) == 1.0
    assert cosine(steps, steps) == cosine(steps + 7, steps) == 0.0
    step = data.draw(st.integers(0, steps - 1))
    assert cosine(step, steps) > cosine(step + 1, steps)


def test_it_is_half_a_cosine() -> None:
    assert cosine(25, 100) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert cosine(50, 100) == pytest.approx(0.5)
    assert sum(cosine(step, 100) for step in range(100)) == pytest.approx(50.5)


@settings(deadline=None)
@given(warmup_steps=st.integers(1, 1000), rest=st.integers(1, 1000))
def test_warm_up_is_linear_and_never_zero_and_reaches_the_peak(warmup_steps: int, rest: int) -> None:
    steps = warmup_steps + rest
    shares = [cosine(step, steps, warmup_steps) for step in range(warmup_steps)]
    assert shares == pytest.approx([(step + 1) / warmup_steps for step in range(warmup_steps)])
    assert shares[-1] == cosine(warmup_steps, steps, warmup_steps) == 1.0
    assert cosine(warmup_steps + rest, steps, warmup_steps) == 0.0


@settings(deadline=None)
@given(warmup_steps=st.integers(0, 100), rest=st.integers(1, 1000), step=st.integers(0, 2000))
def test_after_warm_up_it_is_the_cosine_of_the_rest(warmup_steps: int, rest: int, step: int) -> None:
    assert cosine(warmup_steps + step, warmup_steps + rest, warmup_steps) == cosine(step, rest)
