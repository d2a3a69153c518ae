"""The first paragraph: who is best, by how much, how sure, and what else differs."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from report_logs import write_run
from steadydecay.report.conclusion import Conclusion, comparable_step, conclusion
from steadydecay.report.runs import load_all
from steadydecay.report.variants import Variant, variants_of


def variants(tmp_path: Path, *runs: tuple[str, dict[str, Any]]) -> list[Variant]:
    for index, (optimizer, given) in enumerate(runs):
        write_run(tmp_path / f"{index}-{optimizer}", optimizer, **given)
    return variants_of(load_all([tmp_path])[0])


def seeds(optimizer: str, *losses: float) -> list[tuple[str, dict[str, Any]]]:
    # The generator adds 0.01 a seed.
    return [(optimizer, {"seed": seed, "loss": loss - 0.01 * seed}) for seed, loss in enumerate(losses)]


def test_the_best_is_named_with_its_lead_and_how_clear_it_is(tmp_path: Path) -> None:
    runs = [*seeds("scion", 1.52, 1.50, 1.51), *seeds("scionc", 1.50, 1.49, 1.51), *seeds("adamw", 1.6, 1.61, 1.6)]
    found = conclusion(variants(tmp_path, *runs))
    assert found.ranking == (
        "ScionC has the lowest validation loss at step 200 (lower is better): 1.5000 ± 0.0100 over 3 seeds. "
        "Scion has 1.5100 ± 0.0100 over 3 seeds, which is 0.0100 more: 1.2 standard errors, which these seeds do not "
        "settle. AdamW has 1.6033 ± 0.0058 over 3 seeds, which is 0.1033 more: 15.5 standard errors, a clear "
        "difference."
    )


def test_two_seeds_settle_less_than_three(tmp_path: Path) -> None:
    """5 standard errors: below Student's t of one degree of freedom, 12.7, and above that of two, 4.3."""
    for count, verdict in ((2, "which these seeds do not settle"), (3, "a clear difference")):
        spread = [0.01 * math.sqrt(count / 2) * (-1) ** index * (index < 2) for index in range(count)]
        error = math.sqrt(2) * statistics.stdev(spread) / math.sqrt(count)
        one = seeds("scion", *(1.5 + shift for shift in spread))
        other = seeds("adamw", *(1.5 + 5 * error + shift for shift in spread))
        assert f"5.0 standard errors, {verdict}." in conclusion(variants(tmp_path / str(count), *one, *other)).ranking


def test_what_the_optimizer_changed_is_said_with_numbers(tmp_path: Path) -> None:
    found = conclusion(variants(tmp_path, *seeds("scion", 1.6), *seeds("scionc", 1.5)))
    assert "A difference between single seeds may be chance; repeat the runs with --seed 0 1 2." in found.ranking
    assert found.reasons == (
        "ScionC and Scion differ only in the optimizer. Comparing ScionC with Scion, the decay follows the "
        "learning rate to the power 2.0 against 1.0; the weight norm ends at 100 % against 83 % of its largest value "
        "in the second half; from middle to end, the gradient norm changes by a factor of 1.00 against 1.20; in the "
        "last fifth, each step rotates the weights by 0.034 against 0.047 radians."
    )


def test_seeds_that_are_not_finished_do_not_silence_the_reasons(tmp_path: Path) -> None:
    found = variants(tmp_path, *seeds("scion", 1.6), *seeds("scionc", 1.5), ("scionc", {"seed": 1, "until": 30}))
    assert "by a factor of 1.00 against 1.20" in conclusion(found).reasons


def test_a_pair_of_losers_can_say_what_the_optimizer_changed_and_the_winner_is_not_explained(tmp_path: Path) -> None:
    lion = ("lion", {"loss": 1.2, "settings": {"lr": 0.1, "momentum": 0.5}})
    found = conclusion(variants(tmp_path, lion, *seeds("scion", 1.6), *seeds("scionc", 1.5)))
    assert found.ranking.startswith("Lion has the lowest")
    assert found.reasons.startswith("ScionC and Scion differ only in the optimizer.")
    assert found.reasons.endswith(
        "ScionC and Scion also differ from Lion in lr, momentum, so the logs do not say which setting makes the "
        "difference."
    )


def test_without_a_rival_nothing_is_compared(tmp_path: Path) -> None:
    found = conclusion(variants(tmp_path, *seeds("scion", 1.5, 1.7)))
    text = "Scion has a validation loss of 1.6000 ± 0.1414 over 2 seeds at step 200. No other run was evaluated."
    assert found == Conclusion(text, "")


def test_without_an_evaluation_nobody_is_better(tmp_path: Path) -> None:
    found = conclusion(variants(tmp_path, ("scion", {"until": 5}), ("adamw", {"until": 7})))
    assert found.ranking.startswith("No step was evaluated in all runs") and found.reasons == ""
    assert conclusion([]).ranking == found.ranking


def test_finished_runs_are_compared_at_their_end_and_others_named(tmp_path: Path) -> None:
    found = variants(tmp_path, ("scion", {}), ("scionc", {}), ("adamw", {"until": 65, "loss": 0.1}))
    assert comparable_step(found) == 200
    text = conclusion(found).ranking
    assert text.endswith("Not compared, because they were not evaluated at that step: AdamW (step 65 of 200).")
    assert "AdamW has" not in text


def test_while_runs_go_on_they_are_compared_at_the_last_step_they_share(tmp_path: Path) -> None:
    found = variants(tmp_path, ("scion", {}), ("scionc", {"until": 65}))
    assert comparable_step(found) == 60
    assert "at step 60" in conclusion(found).ranking


def test_runs_that_share_no_step_cannot_be_compared(tmp_path: Path) -> None:
    found = variants(tmp_path, ("scion", {"steps": 30}), ("scionc", {"steps": 200, "until": 25}))
    assert math.isnan(comparable_step(found))
    assert conclusion(found).ranking.startswith("No step was evaluated in all runs")


def test_a_diverged_run_does_not_win(tmp_path: Path) -> None:
    found = variants(tmp_path, *seeds("scion", 1.5), *seeds("scionc", math.nan))
    assert conclusion(found).ranking.startswith("Scion has a validation loss of 1.5000 at step 200. No other run")


@pytest.mark.parametrize("losses", [(1.5, 1.5)])
def test_equal_seeds_have_no_error_to_divide_by(tmp_path: Path, losses: tuple[float, ...]) -> None:
    found = conclusion(variants(tmp_path, *seeds("scion", *losses), *seeds("scionc", 1.25, 1.25)))
    assert "which is 0.2500 more." in found.ranking and "standard errors" not in found.ranking


def test_only_the_next_three_are_spoken_of(tmp_path: Path) -> None:
    names = ("scionc", "scion", "adamw", "lion", "muon")
    found = conclusion(variants(tmp_path, *((name, {"loss": 1 + i / 10}) for i, name in enumerate(names))))
    assert "Lion has" in found.ranking and "Muon" not in found.ranking


def test_accuracy_is_said_beside_the_loss_best_first(tmp_path: Path) -> None:
    runs = [("scion", {"top1": 0.97}), ("scionc", {"top1": 0.98}), ("scionc", {"top1": 0.99, "seed": 1})]
    found = conclusion(variants(tmp_path, *runs, ("adamw", {})))
    assert found.ranking.endswith("The accuracy at that step (higher is better) is ScionC 98.50%, Scion 97.00%.")
    assert "Accuracy" not in conclusion(variants(tmp_path / "gpt", *seeds("scion", 1.6), *seeds("scionc", 1.5))).ranking
