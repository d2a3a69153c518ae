"""The committed docs/scaling.md is what its command prints today, from results whose sizes and work are today's."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore

from steadydecay.bench.machine import described
from steadydecay.bench.shape_sets import Entry, ShapeSet, matrices, vectors
from steadydecay.bench.work import least_work
from steadydecay.polar import choice

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CPU = torch.device("cpu")
MODULES = (
    "scaling",
    "end_to_end",
    "image_transformer",
    "parallel_cost",
    "sharded_weights",
    "sharded_counts",
    "sharded_step",
    "many_gpus_page",
    "scaling_page",
)


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in MODULES:
            del sys.modules[name]


def test_the_page_is_made_from_the_committed_results(scripts: dict[str, Any]) -> None:
    page = scripts["scaling_page"]
    committed = page.PAGE.read_text(encoding="utf-8")
    # What is computed for thousands of GPUs takes too long here; the next test looks at the rest of it.
    many_gpus = page.kept_many_gpus(committed)
    text = page.page_of(scripts["scaling"].read_results(), scripts["end_to_end"].read_results(), many_gpus)
    assert text == committed


def test_a_page_without_the_computed_part_cannot_keep_it(scripts: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="no part about many GPUs to keep; leave --keep-many-gpus out"):
        scripts["scaling_page"].kept_many_gpus("# Another page")


def test_the_costs_of_few_gpus_and_the_counts_are_those_of_the_formulas_of_today(scripts: dict[str, Any]) -> None:
    cost, cluster = scripts["parallel_cost"], scripts["parallel_cost"].Cluster()
    counted = scripts["sharded_step"].read_result()
    parts = [
        *cost.tables(["gpt2-small", "llama-8b"], [8, 64], cluster),
        cost.schemes_table(["llama-8b"], [64], cluster),
        scripts["many_gpus_page"].counted_section(counted),
    ]
    committed = set(scripts["scaling_page"].PAGE.read_text(encoding="utf-8").splitlines())
    assert [line for part in parts for line in part.splitlines() if line not in committed] == []


def test_what_was_counted_in_real_processes_keeps_to_the_bounds(
    scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded, result = scripts["sharded_counts"], scripts["sharded_step"].read_result()
    counts = result.counts
    monkeypatch.setattr(choice, "HAS_FAST_BFLOAT16", result.device["has_fast_bfloat16"])
    assert sharded.faults(counts) == []
    assert {one.ranks for one in counts} == {2, 4, 8}
    for one in (one for one in counts if one.optimizer == "ScionC"):
        cost, whole = sharded.paper(one), sharded.whole_on_paper(one)
        assert max(cost.multiplications) <= 1.15 * whole.multiplications[0] / one.ranks
        assert max(cost.state_bytes) <= 1.2 * whole.state_bytes[0] / one.ranks
        assert one.all_to_alls <= 2 * max(sharded.paper(one, one.layers).buckets)
        assert one.full_tensors == 0
        assert (one.strategy, one.ranks) != ("FSDP2", 8) or max(cost.received_bytes) <= 80e6


def test_one_process_counts_all_products_and_no_bytes_and_takes_both_turns(
    scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded = scripts["sharded_step"]
    tiny = ShapeSet(1, matrices(up=(64, 32)) + vectors(gain=32), (Entry("tokens", (16, 32), "output"),))
    monkeypatch.setitem(sharded.SHAPE_SETS, "tiny", tiny)
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    try:
        counts = [scripts["sharded_counts"].count(name, "FSDP2", tiny.entries(), 1) for name in sharded.OPTIMIZERS]
        timing = sharded.timing("tiny", 1, "ScionC", 2)
    finally:
        torch.distributed.destroy_process_group()
    for one in counts:
        assert one.flops == [one.whole_flops] == [2 * 5 * (2 * 32**2 * 64 + 32**3)]
        assert one.momentum_bytes == [one.whole_momentum_bytes]
        assert one.received_bytes == [0]
    assert {turn: len(times) for turn, times in timing.times.items()} == {
        "one process": 2,
        "two, DDP": 2,
        "two, FSDP2": 2,
    }


def test_a_ring_and_a_packed_exchange_cost_what_their_bytes_say(scripts: dict[str, Any]) -> None:
    cluster = scripts["parallel_cost"].Cluster(between=10.0, within=100.0, node=8)
    # Inside a node; and of 15 other ranks eight are outside, whose bytes take longer.
    assert cluster.seconds_of(700.0, 8) == pytest.approx(7.0)
    assert cluster.seconds_of(150.0, 16) == pytest.approx(8.0)


def test_every_curve_and_every_model_has_a_result_on_a_cpu(scripts: dict[str, Any]) -> None:
    on_cpu = [one for one in scripts["scaling"].read_results() if one.device["type"] == "cpu"]
    assert [one.curve for one in on_cpu] == list(scripts["scaling"].CURVES)
    ends = [one for one in scripts["end_to_end"].read_results() if one.device["type"] == "cpu"]
    assert [one.model for one in ends] == list(scripts["end_to_end"].MODELS)
    assert all(len(one.rows) + len(one.missing) == 2 * len(scripts["end_to_end"].OPTIMIZERS) for one in ends)


def test_committed_points_are_those_of_the_curves_of_today(scripts: dict[str, Any]) -> None:
    for result in scripts["scaling"].read_results():
        given = {point.x: point for point in scripts["scaling"].CURVES[result.curve].points()}
        dtypes = (torch.float32, torch.bfloat16)
        for point in result.points:
            works = [least_work(given[point.x].entries, dtype) or point.parameters for dtype in dtypes]
            assert point.work in works
            assert point.shared_by == given[point.x].shared_by


def test_a_fitted_exponent_is_that_of_a_power_law_and_its_error_that_of_the_textbook(scripts: dict[str, Any]) -> None:
    fitted = scripts["scaling"].fitted
    exact = fitted([1, 3, 10], [7 * x**1.5 for x in (1, 3, 10)])
    assert exact == pytest.approx((1.5, 0), abs=1e-9)
    # Residuals of log₂y = 0, 1, 1 at log₂x = 0, 1, 2 from 1/6 + x/2 are -1/6, 1/3, -1/6: s² = 1/6, and Sxx = 2.
    assert fitted([1, 2, 4], [1, 2, 2]) == pytest.approx((0.5, (1 / 12) ** 0.5))


def test_a_point_is_timed_in_turns_of_a_tenth_of_a_second_at_least(
    scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.04, 0.05, 0.06])
    monkeypatch.setattr(scripts["scaling"], "seconds", lambda *_: next(times))
    assert scripts["scaling"].turn(
        scripts["scaling"].optimizer_on(scripts["scaling"].matrices((8, 8), 2), CPU), CPU
    ) == (pytest.approx(0.05))


def test_a_curve_of_too_few_points_is_refused(scripts: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="--largest 256 leaves 2 points; legal is 3 or more"):
        scripts["scaling"].measured("width", 256, 1, CPU)


def test_scaling_measures_a_curve_and_writes_what_the_page_reads(
    scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling = scripts["scaling"]
    monkeypatch.setattr(scaling, "RESULTS", tmp_path)
    monkeypatch.setattr(scaling, "SECONDS_OF_A_TURN", 0.0001)
    monkeypatch.setattr(sys, "argv", ["scaling.py", "vectors", "--largest", "100", "--repetitions", "2"])
    scaling.main()
    (result,) = scaling.read_results(tmp_path)
    assert [point.x for point in result.points] == [10, 30, 100]
    assert [point.parameters for point in result.points] == [640, 1920, 6400]
    assert all(len(point.times) == 2 and min(point.times) > 0 for point in result.points)
    assert result.command == "python benchmarks/scaling.py vectors --largest 100 --repetitions 2"
    assert "exponent" in capsys.readouterr().out
    assert result.device == described(CPU)


def test_end_to_end_trains_the_same_model_under_each_optimizer(scripts: dict[str, Any]) -> None:
    end_to_end = scripts["end_to_end"]
    result = end_to_end.measured("mini", 2, False, 2, CPU)
    assert [row.optimizer for row in result.rows] == list(end_to_end.OPTIMIZERS)
    assert (result.rows_of_batch, result.full_rows, result.items) == (2, 16, 2 * 128)
    for row in result.rows:
        assert 0 < row.share < 1
        assert all(own < whole for own, whole in zip(row.optimizer_times, row.step_times, strict=True))


def test_muon_gets_the_matrices_of_scionc_and_moves_every_weight_of_the_model(scripts: dict[str, Any]) -> None:
    end_to_end = scripts["end_to_end"]
    model = scripts["image_transformer"].ImageTransformer(layers=1, heads=2, width=32)
    batches = [scripts["image_transformer"].random_crops(2, seed=0)]
    task = end_to_end.Task(model, batches, 2, "images", 2, "")
    trainee = end_to_end.Trainee(task, end_to_end.muon, False, CPU)
    shapes = [tuple(view.shape) for *_, views in trainee.views for view in views]
    assert sorted(shapes) == sorted([(32, 768), *[(32, 32)] * 4, (128, 32), (32, 128)])
    before = {name: weight.clone() for name, weight in trainee.model.named_parameters()}
    trainee.step()
    assert [name for name, weight in trainee.model.named_parameters() if torch.equal(weight, before[name])] == []


def test_a_model_that_cannot_be_compiled_is_listed_as_missing(
    scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: Any) -> None:
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", lambda _: no_compiler)
    result = scripts["end_to_end"].measured("mini", 1, True, 1, CPU)
    assert [row.is_compiled for row in result.rows] == [False] * 3
    assert len(result.missing) == 3
    assert set(result.missing.values()) == {"RuntimeError: no C++ compiler"}
    assert "- ScionC, compiled is not measured: RuntimeError: no C++ compiler." in scripts["scaling_page"].page_of(
        [], [result]
    )


def test_an_eager_model_that_fails_is_an_error(scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(scripts["end_to_end"].Trainee, "_move", broken)
    with pytest.raises(RuntimeError, match="broken"):
        scripts["end_to_end"].measured("mini", 1, False, 1, CPU)


def test_crops_are_224_wide_in_minus_one_to_one_and_depend_on_the_seed_alone(scripts: dict[str, Any]) -> None:
    random_crops = scripts["image_transformer"].random_crops
    images, labels = random_crops(3, seed=1)
    assert images.shape == (3, 3, 224, 224) and labels.shape == (3,)
    assert -1 <= float(images.min()) < -0.5 and 0.5 < float(images.max()) <= 1
    assert torch.equal(images, random_crops(3, seed=1)[0])
    assert not torch.equal(images, random_crops(3, seed=2)[0])


def test_the_image_model_has_the_size_of_vit_s16(scripts: dict[str, Any]) -> None:
    assert sum(weight.numel() for weight in scripts["image_transformer"].ImageTransformer().parameters()) == 22_050_664


def test_the_picture_has_a_panel_for_each_curve(scripts: dict[str, Any], tmp_path: Path) -> None:
    scripts["scaling_page"].draw(scripts["scaling"].read_results(), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_gpu_result_gets_a_section_and_is_then_no_longer_said_to_be_missing(scripts: dict[str, Any]) -> None:
    scaling, page = scripts["scaling"], scripts["scaling_page"]
    (path, *_) = sorted(scaling.RESULTS.glob("scaling_*.json"))
    fields = json.loads(path.read_text(encoding="utf-8"))
    points = [scaling.Point(**point) for point in fields["points"]]
    gpu = {"type": "cuda", "name": "Some GPU", "cuda": "13.0"}
    result = scaling.Result(**{**fields, "points": points, "device": gpu})
    assert page.page_of([], []).endswith("## Not measured\n\nAny GPU.\n")
    text = page.page_of([result], [])
    assert text.endswith("## Not measured\n\n–\n")
    assert re.search(r"^### GPU Some GPU$", text, re.MULTILINE)


def test_a_share_at_the_whole_batch_is_that_of_passes_in_proportion_to_rows(scripts: dict[str, Any]) -> None:
    end_to_end = scripts["end_to_end"]
    rows = [end_to_end.Row("AdamW", False, [2.0], [1.0]), end_to_end.Row("ours", False, [4.0], [3.0])]
    made = {"device": {"type": "cuda", "name": "Some GPU"}, "versions": {}, "date": "2026-01-01", "command": "x"}
    result = end_to_end.Result("mini", 10**6, 1, 4, "tokens", 128, "bytes", rows, {}, **made)
    text = scripts["scaling_page"].page_of([], [result])
    assert "128 tokens a step, a batch cut from 4 rows to 1; bytes." in text
    # 3 s beside 4 · (4 - 3) s; 128 tokens in 4 s; half as fast as AdamW.
    assert "| ours | eager | 4000 (4000–4000) | 3000 (3000–3000) | 75 % | 43 % | 32.0 | 0.50 |" in text
