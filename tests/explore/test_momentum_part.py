"""The third part draws what theory says of momentum."""

from typing import Any

import pytest

from steadydecay.explore import momentum_part
from steadydecay.schedules.shapes import SHAPES, cosine
from steadydecay.theory import effective_lr


def drawn(figure: Any) -> list[Any]:
    """The traces, of which plotly's types say too little."""
    return list(figure.data)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_mark_is_where_the_controls_are(nesterov: bool) -> None:
    figure = momentum_part.effective_lr_figure(0.03, 0.8, nesterov)
    *curves, mark = drawn(figure)
    assert [curve.y[80] for curve in curves] == [effective_lr(0.03, 0.8, ahead) for ahead in (False, True)]
    assert (mark.x, mark.y) == ((0.8,), (effective_lr(0.03, 0.8, nesterov),))
    assert mark.mode == "markers"


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.8])
def test_a_minibatch_adds_the_effective_lr_in_all(momentum: float, nesterov: bool) -> None:
    added, end, without = drawn(momentum_part.contribution_figure(0.03, momentum, nesterov))
    assert added.y[-1] == pytest.approx(effective_lr(0.03, momentum, nesterov), rel=1e-5)
    assert set(end.y) == {effective_lr(0.03, momentum, nesterov)}
    assert set(without.y) == {0.03}
    assert list(added.y) == sorted(added.y)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("nesterov", [False, True])
def test_three_schedules_carry_one_effective_lr(shape: str, nesterov: bool) -> None:
    figure = momentum_part.schedule_figure(0.01, 0.9, nesterov, shape)
    by_row = [[curve for curve in drawn(figure) if curve.yaxis == axis] for axis in ("y", "y2", "y3")]
    effective, lrs, momenta = ([list(curve.y) for curve in row] for row in by_row)
    for curve in effective[1:]:
        assert curve == pytest.approx(effective[0], abs=1e-12)
    assert momenta[0] == [0.9] * momentum_part.STEPS
    if shape == "constant":
        assert lrs == [[0.01] * momentum_part.STEPS] * 3
    else:
        assert lrs[0][100] < lrs[2][100] < lrs[1][100] or shape == "wsd"
        assert momenta[1][-1] == 0


def test_the_cosine_is_a_cosine() -> None:
    figure = momentum_part.schedule_figure(0.01, 0.9, False, "cosine")
    peak = effective_lr(0.01, 0.9)
    expected = [peak * cosine(step, momentum_part.STEPS) for step in range(momentum_part.STEPS)]
    for curve in drawn(figure)[::3]:
        assert list(curve.y) == pytest.approx(expected, abs=1e-12)
