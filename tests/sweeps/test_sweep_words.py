"""What is said of a sweep."""

import pytest

from steadydecay.sweeps.setting_row import ranking_of, setting_rows
from steadydecay.sweeps.sweep_words import counts_in_words, ranking_in_words
from steadydecay.sweeps.trial_row import TrialRow
from sweep_rows import row


def seeds(lr: str, middle: float) -> list[TrialRow]:
    return [row({"lr": lr}, seed, middle + wave) for seed, wave in enumerate((-0.1, 0.0, 0.1))]


BEST = "The best setting is optimizer=scionc lr=1, with a mean validation loss of "
CASES = {
    "nothing finished": (
        [row({"lr": "1"}, status="failed")],
        ["There is no best setting yet, because no setting has finished trials and no diverged ones."],
    ),
    "one seed": (
        [row({"lr": "1"}, 0, 1.0), row({"lr": "2"}, 0, 2.0)],
        [
            f"{BEST}1.0000 over one seed (lower is better).",
            "A single seed has no spread. Repeat the sweep with --seed 0 1 2 to see how much is chance.",
        ],
    ),
    "rivals": (
        seeds("1", 1.0) + seeds("2", 1.1) + seeds("3", 9.0),
        [
            f"{BEST}1.0000 ± 0.1000 over 3 seeds (lower is better).",
            "These seeds cannot tell it from optimizer=scionc lr=2 (1.1000 ± 0.1000) (Student's t at 97.5 %).",
        ],
    ),
    "many rivals": (
        [one for index in range(1, 9) for one in seeds(str(index), 1 + index / 100)],
        [
            f"{BEST}1.0100 ± 0.1000 over 3 seeds (lower is better).",
            "These seeds cannot tell it from "
            + "; ".join(f"optimizer=scionc lr={index} (1.0{index}00 ± 0.1000)" for index in range(2, 7))
            + "; and 2 more (Student's t at 97.5 %).",
        ],
    ),
    "one loser": (
        seeds("1", 1.0) + seeds("3", 9.0),
        [
            f"{BEST}1.0000 ± 0.1000 over 3 seeds (lower is better).",
            "The one other setting with several seeds is clearly worse (Student's t at 97.5 %).",
        ],
    ),
    "losers": (
        seeds("1", 1.0) + seeds("3", 9.0) + seeds("4", 9.0),
        [
            f"{BEST}1.0000 ± 0.1000 over 3 seeds (lower is better).",
            "All 2 other settings with several seeds are clearly worse (Student's t at 97.5 %).",
        ],
    ),
    "nothing to compare with": (
        [*seeds("1", 1.0), row({"lr": "2"}, 0, 2.0)],
        [
            f"{BEST}1.0000 ± 0.1000 over 3 seeds (lower is better).",
            "There is no other setting with several finished seeds to compare it with.",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_ranking_is_said_with_its_spread(case: str) -> None:
    trials, sentences = CASES[case]
    assert ranking_in_words(ranking_of(setting_rows(trials), "val_loss")) == sentences


def test_the_trials_are_counted() -> None:
    trials = [row({}, 0, 1.0), row({}, 1, 1.0), row({}, 2, status="missing"), row({}, 3, status="diverged")]
    assert counts_in_words(trials) == "The sweep has 4 trials: 2 finished, 1 diverged, 1 missing."
