"""Findings: the right numbers of a run reach each piece of advice."""

import math
from pathlib import Path
from typing import Any

import pytest

from report_logs import LAYERS, write_run
from steadydecay.monitor.verdict import SETTLING_TIME
from steadydecay.report.advice_of_runs import advice_for, decay_law, findings_of
from steadydecay.report.runs import Run, load_run
from steadydecay.report.variants import variants_of
from steadydecay.run_log.writer import RunLog


def run_of(folder: Path, *arguments: Any, **given: Any) -> Run:
    return load_run(write_run(folder, *arguments, **given), folder.name)


def titles(run: Run) -> list[str]:
    return [finding.title for finding in findings_of(run)]


FINE = "The output layer keeps its constant weight decay, as it should"


def test_a_corrected_run_that_reached_its_steady_state_needs_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "scionc", steps=400)
    assert titles(run) == [FINE]
    assert decay_law(run) == pytest.approx(2)


def test_an_uncorrected_run_is_told_so_with_its_own_numbers(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "scion", steps=400)
    assert decay_law(run) == pytest.approx(1)
    assert titles(run) == [
        "The decay of the hidden layers is not corrected",
        FINE,
        "The gradient norm rises at the end because the weight norm falls",
        "Not every layer is steady in the last record",
    ]
    norm, gradient = run.of_role("weight_norm", "hidden"), run.of_role("gradient_norm", "hidden")
    kept = norm.last / norm.within(200, 400).values.max()
    assert f"ended at {kept:.0%} of" in findings_of(run)[0].evidence
    evidence = findings_of(run)[2].evidence
    assert f"to {norm.within(380, 400).values.mean():.4g}" in evidence
    assert f"from {norm.within(180, 220).values.mean():.4g}" in evidence
    assert f"from {gradient.within(180, 220).values.mean():.3g} to" in evidence


def test_a_short_run_is_told_the_length_and_the_decay_it_needs(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "scionc", steps=60)
    found = [finding for finding in findings_of(run) if "never reached" in finding.title]
    assert [finding.title.split()[1] for finding in found] == ["hidden", "output"], "the main role first"
    lasted = 2 * sum(-math.log1p(-decay) for decay in run.of_role("decay", "hidden").values)
    assert f"are {lasted:.2f} time constants" in found[0].evidence
    assert f"Train {SETTLING_TIME / lasted:.2g} times as long" in found[0].remedy
    assert "η = 0.02 per step" in found[0].evidence
    # The monitor's prediction, 0.9 of theory's 30 (tests/report_logs.py).
    assert "instead of 27" in found[0].remedy


def test_a_run_that_still_goes_on_is_not_called_too_short(tmp_path: Path) -> None:
    assert titles(run_of(tmp_path / "run", "scionc", steps=400, until=40)) == []


def test_a_rise_is_judged_at_the_end_of_a_whole_run_alone(tmp_path: Path) -> None:
    assert not [title for title in titles(run_of(tmp_path / "r", "scion", steps=400, until=350)) if "rises" in title]


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        (
            {"weight_dtype": "bfloat16", "low_precision": "none"},
            "The decay of the output weights rounds away in bfloat16",
        ),
        ({"weight_dtype": "torch.bfloat16"}, "The decay of the output weights rounds away in bfloat16"),
        ({"weight_dtype": "bfloat16", "low_precision": "compensated"}, None),
        ({"precision": "bfloat16", "decay_per_step": 1e-4}, None),
        ({"dtype": "float32"}, None),
        ({}, "The log does not say whether the output weights are kept in bfloat16; if so, their decay may be lost"),
    ],
)
def test_the_format_of_the_weights_is_what_the_configuration_says(
    tmp_path: Path, settings: dict[str, Any], title: str | None
) -> None:
    path = tmp_path / "run.jsonl"
    with RunLog.open(path, configuration=settings, resume_step=None) as log:
        log.write("step", step=1, decay={"output": 1e-4, "hidden": 0.5}, lr={"output": 1.0, "hidden": 1.0})
    rounding = [one for one in titles(load_run(path, "run")) if "bfloat16" in one]
    assert rounding == ([] if title is None else [title])


def test_the_measured_size_of_updates_is_set_against_the_assumed_one(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    # The first half does not count; sizes are the ratio of the two predictions.
    ratios = {"a": [9.0, 9.0, 1.0, 1.1, 1.0], "b": [1.0, 1.0, 0.5, 0.5, 0.6], "c": [1.0, 1.0, math.nan, math.inf, 0.0]}
    with RunLog.open(path, configuration={}, resume_step=None) as log:
        for index in range(5):
            layers = {
                name: {"predicted_norm": 2.0, "predicted_norm_measured": 2.0 * values[index]}
                for name, values in ratios.items()
            }
            log.write("watch", step=index + 1, layers=layers)
    (finding,) = (one for one in findings_of(load_run(path, "run")) if "size" in one.title)
    assert "In b, updates are 0.50 times" in finding.evidence


def test_seeds_share_a_case_and_variants_a_finding(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path / f"{name}{seed}", name, seed=seed, steps=400) for name in ("scion", "adamw") for seed in (0, 1)
    ]
    advice = advice_for(variants_of(runs))
    assert [one.is_fine for one in advice] == [False] * 3 + [True]
    first = advice[0]
    assert first.title == "The decay of the hidden layers is not corrected"
    assert [case.label for case in first.cases] == [
        "Scion (2 of 2 seeds; the numbers are those of scion0)",
        "AdamW (2 of 2 seeds; the numbers are those of adamw0)",
    ]
    assert len(first.remedies) == 1
    assert advice[2].title == "Not every layer is steady in the last record", "single layers after all of them"
    alone = advice_for(variants_of(runs[:1]))
    assert alone[0].cases[0].label == "Scion"


def test_a_log_without_anything_gives_no_advice(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("")
    assert findings_of(load_run(path, "run")) == []
    assert math.isnan(decay_law(load_run(path, "run")))
    path.write_text('{"kind": "step", "step": 1, "decay": {"hidden": "NaN"}, "lr": {"hidden": 1}}\n')
    assert findings_of(load_run(path, "run")) == []
    path.write_text('{"kind": "step", "step": 1, "decay": {"hidden": 1.5, "output": -1}, "lr": {"hidden": 1}}\n')
    assert findings_of(load_run(path, "run")) == []


def test_layers_of_the_generator_are_judged(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "scion", steps=40)
    assert set(run.verdicts) == set(LAYERS)


def watched_log(path: Path, layers: list[dict[str, float]], faults: dict[int, dict[str, Any]]) -> Run:
    """Records of step 10, 20, ...: the weight norm of each layer, and what the monitor says of faults."""
    with RunLog.open(path, configuration={"optimizer": "lion", "steps": 100}, resume_step=None) as log:
        for number, norms in enumerate(layers, start=1):
            found = {name: {"weight_norm": norm} for name, norm in norms.items()}
            log.write("watch", step=10 * number, layers=found, groups={}, verdicts={}, **faults.get(number, {}))
    return load_run(path, "mine")


def test_the_monitors_first_fault_is_named_with_the_step_of_the_log(tmp_path: Path) -> None:
    """The monitor counts steps since it was attached, the log from the beginning of the run."""
    fault = {"step": 3, "layer": "h.1.up", "measure": "momentum_norm", "layers": 2}
    later = {"not_finite": {**fault, "layer": "other"}}
    layers = [{"h.0.up": 1.0, "h.1.up": 2.0}] * 5
    run = watched_log(tmp_path / "run.jsonl", layers, {3: {"not_finite": fault}, 4: later})
    (finding,) = [finding for finding in findings_of(run) if "not finite" in finding.title]
    assert finding.title == "Layer h.1.up is not finite from step 30 on"
    assert (
        "the momentum_norm of h.1.up is NaN or infinite. The number of layers with such a value there is 2"
        in finding.evidence
    )
    assert not finding.is_fine


@pytest.mark.parametrize("fill", [math.nan, math.inf])
def test_a_log_without_the_monitors_word_is_judged_by_its_norms(tmp_path: Path, fill: float) -> None:
    layers = [{"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 1.0, "b": fill, "c": fill}, {"a": fill, "b": fill, "c": fill}]
    run = watched_log(tmp_path / "run.jsonl", layers, {})
    assert titles(run)[0] == "Layer b is not finite from step 20 on"
    assert "The number of layers with such a value there is 2" in findings_of(run)[0].evidence


def test_a_finite_log_has_no_such_finding(tmp_path: Path) -> None:
    run = watched_log(tmp_path / "run.jsonl", [{"a": 1.0}, {"a": 2.0}], {2: {"not_finite": "a word of others"}})
    assert not [title for title in titles(run) if "not finite" in title]
