"""Panels: which lines of which runs, what is visible, what is said of the rest."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report_logs import write_run
from steadydecay.report.measure_panels import MeasurePanel, measure_panels
from steadydecay.report.runs import Run, load_all, load_run
from steadydecay.report.variants import variants_of
from steadydecay.theory import steady_norm_sq

ALL = ["loss", "validation", "weight-norm", "gradient-norm", "spectral", "sign", "effective-lr", "decay"]
ALL += ["rotation", "alignment", "output-alignment"]


def panels(*runs: Run) -> dict[str, MeasurePanel]:
    return {panel.measure.key: panel for panel in measure_panels(variants_of(runs))[0]}


def run_of(folder: Path, *arguments: Any, **given: Any) -> Run:
    return load_run(write_run(folder, *arguments, **given), folder.name)


def log_of(folder: Path, lines: str) -> Run:
    folder.mkdir()
    (folder / "run.jsonl").write_text(lines)
    return load_run(folder / "run.jsonl", folder.name)


def steps_of_norms(folder: Path, norms: list[float], predicted: float = 1.0) -> Run:
    record = '{{"kind": "step", "step": {}, "weight_norm": {{"hidden": {}}}, "predicted_norm": {{"hidden": {}}}}}\n'
    return log_of(folder, "".join(record.format(step, norm, predicted) for step, norm in enumerate(norms, 1)))


def test_a_whole_log_fills_every_panel_of_the_paper_s_figure(tmp_path: Path) -> None:
    found, missing = measure_panels(variants_of([run_of(tmp_path / "run")]))
    assert ([panel.measure.key for panel in found], missing) == (ALL, [])
    assert all(panel.measure.explanation and panel.measure.title for panel in found)


def test_accuracy_has_a_panel_where_it_was_logged_and_is_missed_nowhere(tmp_path: Path) -> None:
    found, missing = measure_panels(variants_of([run_of(tmp_path / "run", top1=0.5)]))
    assert [panel.measure.key for panel in found] == [*ALL[:2], "accuracy", *ALL[2:]] and missing == []
    (line,) = next(panel for panel in found if panel.measure.key == "accuracy").lines
    assert set(line.series.values) == {0.5}


def test_every_run_has_a_line_and_a_prediction_beside_its_norm(tmp_path: Path) -> None:
    for name in ("scion", "scionc"):
        for seed in (0, 1):
            write_run(tmp_path / f"{name}{seed}", name, seed=seed)
    panel = panels(*load_all([tmp_path])[0])["weight-norm"]
    kinds = [(line.run.name, line.kind) for line in panel.lines]
    assert kinds == [
        (f"{name}{seed}", kind) for name in ("scionc", "scion") for seed in (0, 1) for kind in ("predicted", "measured")
    ]
    measured = next(line for line in panel.lines if line.run.name == "scion0" and line.kind == "measured")
    run = load_run(tmp_path / "scion0" / "run.jsonl", "scion0")
    assert measured.series.values.tolist() == run.of_role("weight_norm", "hidden").values.tolist()


def test_the_prediction_is_that_with_the_measured_updates_where_it_is_known(tmp_path: Path) -> None:
    for watch_every, steady in ((10, 27.0), (0, 30.0)):
        run = run_of(tmp_path / str(watch_every), "scionc", watch_every=watch_every)
        (predicted,) = (line for line in panels(run)["weight-norm"].lines if line.kind == "predicted")
        assert predicted.series.values[0] == pytest.approx(steady)


def test_noisy_measures_lie_faint_behind_their_mean(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", steps=1000)
    raw, smooth = panels(run)["loss"].lines
    assert (raw.kind, smooth.kind) == ("raw", "measured")
    assert np.ptp(smooth.series.values[200:]) < 0.5 * np.ptp(raw.series.values[200:])
    assert raw.series.values.max() == run.loss.values.max(), "extremes are kept"
    assert max(len(line.series) for line in (raw, smooth)) <= 400


def test_without_the_monitor_the_learning_rate_stands_for_the_effective_one(tmp_path: Path) -> None:
    found, missing = measure_panels(variants_of([run_of(tmp_path / "run", watch_every=0)]))
    assert [panel.measure.key for panel in found] == [
        "loss",
        "validation",
        "weight-norm",
        "gradient-norm",
        "lr",
        "decay",
    ]
    assert len(missing) == 6 and "Effective learning rate γ_eff of the hidden layers" in missing


def test_a_far_prediction_does_not_flatten_the_norms_and_is_told(tmp_path: Path) -> None:
    panel = panels(steps_of_norms(tmp_path / "far", [8.0, 9.0, 10.0], predicted=1000.0))["weight-norm"]
    assert panel.y_range == (0, 12.5)
    assert panel.note == "The prediction for far (at least 1e+03) is above the picture. Double-click to see it."
    assert panels(steps_of_norms(tmp_path / "near", [8.0, 9.0], predicted=9.5))["weight-norm"].note == ""


def test_the_first_steps_do_not_set_what_is_visible(tmp_path: Path) -> None:
    lines = "".join(
        f'{{"kind": "validation", "step": {step}, "loss": {2.0 + (step == 1) * 90}}}\n' for step in range(1, 51)
    )
    low, high = panels(log_of(tmp_path / "run", lines))["validation"].y_range
    assert low < 2.0 < high < 3.0


def test_a_run_that_has_just_begun_does_not_set_what_is_visible(tmp_path: Path) -> None:
    long = run_of(tmp_path / "long", steps=400)
    begun = run_of(tmp_path / "begun", "adamw", steps=400, until=15)
    assert panels(long, begun)["loss"].y_range == panels(long)["loss"].y_range


def test_a_prediction_that_one_seed_shows_is_not_called_invisible(tmp_path: Path) -> None:
    far, near = steps_of_norms(tmp_path / "far", [9.0], 1000.0), steps_of_norms(tmp_path / "near", [9.0], 8.0)
    for index, run in enumerate((far, near)):
        run.configuration.update(optimizer="scion", seed=index)
    assert panels(far, near)["weight-norm"].note == ""


@pytest.mark.parametrize("norms", [[5.0], [0.0], [0.0, 0.0], [-1.0, -1.0], [3.0, 3.0]])
def test_flat_and_single_values_have_a_range_around_them(tmp_path: Path, norms: list[float]) -> None:
    low, high = panels(steps_of_norms(tmp_path / "run", norms))["weight-norm"].y_range
    assert low <= norms[-1] <= high and low < high


def test_signs_are_shown_around_zero(tmp_path: Path) -> None:
    low, high = panels(run_of(tmp_path / "run"))["alignment"].y_range
    assert low < -0.02 and high > 0


def test_the_expected_cosine_is_that_of_momentum_alone(tmp_path: Path) -> None:
    lr, decay, momentum = 0.03, 0.015, 0.9
    update = 2.0 * lr
    steady_sq = steady_norm_sq(lr, decay, momentum)
    # ⟨θ,u⟩/C by its own definition: minus the lr times the correlations, each with the decay since.
    inner = -lr * sum((1 - decay) ** (k - 1) * momentum**k for k in range(1, 2000))
    norm = 1.5 * math.sqrt(steady_sq) * 2.0
    group = {"update_norm": update, "predicted_norm_measured": math.sqrt(steady_sq) * 2.0, "weight_norm": norm}
    record = {"kind": "watch", "step": 1, "groups": {"hidden": group | {"decay": decay, "update_cosine": -0.5}}}
    panel = panels(log_of(tmp_path / "run", json.dumps(record) + "\n"))["alignment"]
    (predicted,) = (line for line in panel.lines if line.kind == "predicted")
    assert predicted.series.values.tolist() == pytest.approx([inner * 2.0 / norm])


def test_without_the_size_of_updates_no_cosine_is_expected(tmp_path: Path) -> None:
    record = {"kind": "watch", "step": 1, "groups": {"hidden": {"update_cosine": -0.5, "decay": 0.1}}}
    (line,) = panels(log_of(tmp_path / "run", json.dumps(record) + "\n"))["alignment"].lines
    assert line.kind == "measured"


def test_what_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    gradient = '{{"kind": "step", "step": {}, "gradient_norm": {{"hidden": {}}}, "loss": {}}}\n'
    values = [(1, 0.0, '"NaN"'), (2, 4.0, '"NaN"'), (3, -1.0, '"Infinity"'), (4, 2.0, '"NaN"')]
    found = panels(log_of(tmp_path / "run", "".join(gradient.format(*value) for value in values)))
    assert list(found) == ["gradient-norm"]
    assert found["gradient-norm"].lines[0].series.values.tolist() == [4.0, 2.0]
    assert found["gradient-norm"].y_range == (2.0 / 1.25, 4.0 * 1.25)


def test_nothing_logged_is_no_panel() -> None:
    found, missing = measure_panels([])
    assert found == [] and len(missing) == len(ALL)
