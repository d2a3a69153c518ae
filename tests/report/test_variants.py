"""Variants: seeds together, everything else apart, under names that can be told apart."""

from pathlib import Path
from typing import Any

from steadydecay.report.runs import Run
from steadydecay.report.variants import differing_settings, setting_text, variants_of
from steadydecay.run_log.reader import LogFaults


def run(name: str, **configuration: Any) -> Run:
    return Run(name, Path(name), configuration, {}, {}, "", LogFaults())


def test_runs_that_differ_in_their_seed_alone_are_one_variant() -> None:
    runs = [
        run("a", optimizer="scion", seed=0, lr=1, torch="2.9"),
        run("b", optimizer="scion", seed=1, lr=1, torch="3"),
    ]
    (variant,) = variants_of(runs)
    assert (variant.label, variant.runs) == ("Scion", tuple(runs))


def test_optimizers_of_the_main_figure_come_first_in_their_own_colours() -> None:
    runs = [run(name, optimizer=name, seed=0) for name in ("lion", "adamw", "scion", "scionc")]
    variants = variants_of(runs)
    assert [variant.label for variant in variants] == ["ScionC", "Scion", "AdamW", "Lion"]
    assert [variants_of(runs[2:])[index].style for index in (0, 1)] == [variant.style for variant in variants[:2]]
    for part in ("colour", "dash", "symbol"):
        assert len({getattr(variant.style, part) for variant in variants}) == 4


def test_variants_of_one_optimizer_are_named_by_what_differs() -> None:
    runs = [run(f"run{lr}", optimizer="scionc", seed=0, lr=lr, width=64) for lr in (0.02, 0.03)]
    labels = [variant.label for variant in variants_of([*runs, run("adamw", optimizer="adamw", lr=7)])]
    assert labels == ["ScionC lr=0.02", "ScionC lr=0.03", "AdamW"]


def test_variants_whose_differences_make_no_short_name_bear_their_run_s() -> None:
    long = [run(f"run-{i}", optimizer="mine", seed=0, data=f"/a/long/path/to/somewhere/{i}") for i in (0, 1)]
    assert [variant.label for variant in variants_of(long)] == ["run-0", "run-1"]
    without = [run("first"), run("second"), run("third", seed=1)]
    assert [variant.label for variant in variants_of(without)] == ["first", "second", "third"]


def test_settings_that_differ_are_listed_with_each_run_s_value() -> None:
    runs = [run("a", lr=0.5, same=1, clip=None, size="x"), run("b", lr=0.25, same=1, clip=1.0, nested={"k": [1, "é"]})]
    assert differing_settings(runs) == {
        "lr": ["0.5", "0.25"],
        "clip": ["null", "1.0"],
        "size": ["x", "–"],
        "nested": ["–", '{"k": [1, "é"]}'],
    }
    assert differing_settings(runs[:1]) == {}
    assert setting_text(runs[0], "size") == "x"
