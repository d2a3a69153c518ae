"""Settings over their seeds: means, spreads, and which are as good as the best."""

import numpy as np
import pytest

from steadydecay.sweeps.setting_row import ranking_of, setting_rows
from sweep_rows import row


def test_mean_and_deviation_are_those_of_the_finished_trials() -> None:
    losses = [1.5, 1.75, 2.5]
    trials = [row({"lr": "1"}, seed, loss, top1=loss / 10) for seed, loss in enumerate(losses)]
    trials += [row({"lr": "1"}, 3, status="failed"), row({"lr": "1"}, 4, status="missing")]
    (found,) = setting_rows(trials)
    assert found.cells == {
        "optimizer": "scionc",
        "lr": "1",
        "n": 3,
        "diverged": 0,
        "failed": 1,
        "missing": 1,
        "val_loss_mean": pytest.approx(np.mean(losses)),
        "val_loss_sd": pytest.approx(np.std(losses, ddof=1)),
        "top1_mean": pytest.approx(np.mean(losses) / 10),
        "top1_sd": pytest.approx(np.std(losses, ddof=1) / 10),
    }


def test_a_single_seed_has_no_deviation_and_a_setting_without_an_end_no_mean() -> None:
    alone, nothing = setting_rows([row({"lr": "1"}, 0, 2.0), row({"lr": "2"}, 0, status="diverged")])
    assert (alone.cells["val_loss_mean"], alone.cells["val_loss_sd"]) == (2.0, None)
    assert (nothing.cells["n"], nothing.cells["diverged"], nothing.cells["val_loss_mean"]) == (0, 1, None)


def test_the_best_has_rivals_that_its_seeds_cannot_tell_from_it() -> None:
    """At three seeds each: t is 4.30 standard errors, which are 0.1·√(2/3) = 0.0816 here."""
    offsets = {"best": 0.0, "near": 0.34, "far": 0.36}
    trials = [
        row({"lr": name}, seed, 1.0 + offset + wave)
        for name, offset in offsets.items()
        for seed, wave in enumerate((-0.1, 0.0, 0.1))
    ]
    ranking = ranking_of(setting_rows(reversed(trials)), "val_loss")
    assert ranking.best is not None and ranking.best.setting["lr"] == "best"
    assert [other.setting["lr"] for other in ranking.others] == ["near"]
    assert ranking.worse == 1


def test_a_setting_of_which_a_seed_diverged_is_never_the_best() -> None:
    trials = [row({"lr": "9"}, 0, 0.5), row({"lr": "9"}, 1, status="diverged"), row({"lr": "1"}, 0, 1.0)]
    best = ranking_of(setting_rows(trials), "val_loss").best
    assert best is not None and best.setting["lr"] == "1"


def test_of_accuracies_the_largest_is_the_best() -> None:
    trials = [row({"lr": "1"}, 0, 1.0, top1=0.2), row({"lr": "2"}, 0, 2.0, top1=0.9)]
    best = ranking_of(setting_rows(trials), "top1").best
    assert best is not None and best.setting["lr"] == "2"


def test_single_seeds_tell_neither_rivals_nor_losers() -> None:
    ranking = ranking_of(setting_rows([row({"lr": "1"}, 0, 1.0), row({"lr": "2"}, 0, 9.0)]), "val_loss")
    assert (ranking.others, ranking.worse) == ((), 0)


def test_without_a_finished_trial_there_is_no_best() -> None:
    assert ranking_of(setting_rows([row({}, 0, status="failed")]), "val_loss").best is None
