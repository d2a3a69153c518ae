"""The first part draws what theory says, and types the worked example's digits."""

from typing import Any

import pytest

from steadydecay.experiments.adam_steps import EXAMPLE, AdamSettings, adam_l2_step, adam_path, adamw_step
from steadydecay.explore import adam_part


def drawn(figure: Any) -> list[Any]:
    """The traces, of which plotly's types say too little."""
    return list(figure.data)


def test_the_equations_of_the_example_show_its_digits() -> None:
    adamw, adam_l2 = adam_part.equations(*EXAMPLE)
    assert r"\mathbf{0.399854}" in adamw
    assert r"0.4 - 1.34\times 10^{-4} - 1.2\times 10^{-5}" in adamw
    assert r"\mathbf{0.399866}" in adam_l2
    assert r"0.4 - 1.34\times 10^{-4}\\" in adam_l2
    assert "= 0.05" in adam_l2
    assert "**25 times**" in adam_part.inflation(*EXAMPLE)


def test_the_moving_term_is_boxed_once_in_each_equation_where_it_stands() -> None:
    adamw, adam_l2 = adam_part.equations(*EXAMPLE)
    assert adamw.count(r"\boxed") == adam_l2.count(r"\boxed") == 1
    assert adamw.index(r"\boxed") > adamw.index("leftarrow")
    assert adam_l2.index(r"\boxed") < adam_l2.index("leftarrow")


def test_a_step_away_from_zero_is_typed_as_a_sum() -> None:
    adamw, _ = adam_part.equations(0.4, -0.01, EXAMPLE[2])
    assert r"0.4 + 1.34\times 10^{-4} - 1.2\times 10^{-5}" in adamw


def test_without_a_gradient_v_is_all_decay() -> None:
    assert "all of Adam-L2's v comes from the decay" in adam_part.inflation(0.4, 0.0, EXAMPLE[2])


def test_the_bars_are_the_parts_of_the_step() -> None:
    figure = adam_part.step_figure(*EXAMPLE)
    decoupled, coupled = adamw_step(*EXAMPLE), adam_l2_step(*EXAMPLE)
    assert [list(bar.x) for bar in drawn(figure)] == [
        [decoupled.task_part, coupled.task_part],
        [decoupled.decay_part, coupled.decay_part],
    ]
    assert [bar.marker.pattern.shape for bar in drawn(figure)] == ["", "/"]


def test_the_curves_are_the_paths_as_shares() -> None:
    settings = AdamSettings(1e-3, 0.3)
    figure = adam_part.decay_figure(0.8, settings)
    assert len(drawn(figure)) == 1 + len(adam_part.STARTS)
    for curve, update, start in zip(
        drawn(figure), [adamw_step, *[adam_l2_step] * 3], [0.8, 0.8, 0.2, 0.05], strict=True
    ):
        path = adam_path(update, start, [0.0] * adam_part.PATH_STEPS, settings)
        assert list(curve.y) == pytest.approx([path[step] / start for step in curve.x])
        assert curve.y[0] == 1
    assert len({curve.line.dash for curve in drawn(figure)}) == 4
