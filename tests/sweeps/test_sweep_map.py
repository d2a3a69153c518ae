"""Maps over two fields: which, in what order, and the means in their cells."""

import itertools
import statistics

import pytest

from steadydecay.sweeps.sweep_map import chosen_fields, maps_of
from sweep_rows import row

AXES = {"optimizer": ("scion", "adamw"), "clip": ("none", "1"), "lr": ("0.1", "2e-2", "1"), "width": ("8", "16", "32")}


def loss_of(setting: dict[str, str], seed: int) -> float:
    return len(setting["optimizer"]) + 3 * float(setting["lr"]) + 0.01 * float(setting["width"]) + seed / 7


TRIALS = [
    row(setting, seed, loss_of(setting, seed))
    for values in itertools.product(*AXES.values())
    for seed in (0, 1)
    for setting in [dict(zip(AXES, values, strict=True))]
]


def test_the_two_fields_with_the_most_values_are_chosen_and_the_optimizer_last() -> None:
    assert chosen_fields(TRIALS, None) == ("lr", "width")
    few = [one for one in TRIALS if one.setting["width"] == "8" and one.setting["clip"] == "none"]
    assert chosen_fields(few, None) == ("lr", "optimizer")
    assert chosen_fields([one for one in few if one.setting["optimizer"] == "scion"], None) == ("lr",)
    assert chosen_fields(TRIALS[:2], None) == ("optimizer",)


def test_fields_are_those_that_are_asked_for() -> None:
    assert chosen_fields(TRIALS, "clip, lr") == ("clip", "lr")
    assert chosen_fields(TRIALS, "clip") == ("clip",)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("lr,widht", "over names 'widht', which is not a swept field; did you mean 'width'?"),
        ("lr,lr", "over is 'lr,lr'; it must name one or two different fields of optimizer, clip, lr, width"),
        ("lr,clip,width", "over is 'lr,clip,width'; it must name one or two"),
        ("", "over names ''"),
    ],
)
def test_other_fields_are_refused(over: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        chosen_fields(TRIALS, over)
    assert str(caught.value).startswith(message)


def test_each_optimizer_has_a_map_whose_cells_are_means_over_the_other_fields() -> None:
    maps = maps_of(TRIALS, "val_loss", ("lr", "width"))
    assert [one.title for one in maps] == ["scion", "adamw"]
    for one in maps:
        assert (one.columns, one.rows, one.averaged) == (("2e-2", "0.1", "1"), ("8", "16", "32"), ("clip",))
        for (width, lr), cell in one.cells.items():
            expected = [
                trial.measures["val_loss"]
                for trial in TRIALS
                if (trial.setting["optimizer"], trial.setting["width"], trial.setting["lr"]) == (one.title, width, lr)
            ]
            assert cell.spread is not None and len(expected) == 4
            assert cell.spread.mean == pytest.approx(statistics.fmean(expected))
            assert cell.value == f"{statistics.fmean(expected):.4f}", "a deviation would not be one over seeds"


def test_a_map_over_the_optimizer_is_one_map() -> None:
    (one,) = maps_of(TRIALS, "val_loss", ("lr", "optimizer"))
    assert (one.title, one.rows, one.averaged) == ("", ("scion", "adamw"), ("clip", "width"))


def test_a_cell_of_one_setting_shows_the_deviation_over_its_seeds() -> None:
    (one,) = maps_of([row({"lr": "1"}, 0, 1.0), row({"lr": "1"}, 1, 2.0)], "val_loss", ("lr",))
    assert one.cells["", "1"].value == "1.5000 ± 0.7071"


def test_a_cell_says_which_trials_did_not_finish_and_a_place_without_trials_has_no_cell() -> None:
    trials = [row({"lr": "1", "clip": "none"}, 0, 1.0), row({"lr": "1", "clip": "none"}, 1, status="diverged")]
    trials += [row({"lr": "2", "clip": "1"}, 0, status="missing")]
    (one,) = maps_of(trials, "val_loss", ("lr", "clip"))
    assert one.rows == ("1", "none"), "numbers first"
    assert {place: (cell.value, cell.note) for place, cell in one.cells.items()} == {
        ("none", "1"): ("1.0000", "1 diverged"),
        ("1", "2"): ("", "1 missing"),
    }
