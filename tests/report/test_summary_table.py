"""The table: one row per optimizer, mean and sample standard deviation over its seeds."""

import io
import math
import statistics
from dataclasses import replace

import pytest
from rich.console import Console

from steadydecay.report.summary import RunSummary
from steadydecay.report.summary_table import columns_of, summary_row, summary_rows, summary_table, wide_enough

RUN = RunSummary("scionc", 0, 100, 1.25, 64.0, 48.0, 0.5, 0.75, 0.0625)


COLUMNS = columns_of([RUN])
HEADER = ("optimizer", "seeds", *COLUMNS)


def cells(row: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(HEADER, row, strict=True))


def test_one_seed_has_no_spread() -> None:
    (row,) = summary_rows([RUN])
    assert cells(row) == {
        "optimizer": "ScionC",
        "seeds": "1",
        "validation loss": "1.2500",
        "‖θ‖ max, 2nd half": "64.00",
        "‖θ‖ end": "48.00",
        "‖θ‖ end ÷ max": "0.750",
        "‖g‖ mid": "0.500",
        "‖g‖ end": "0.750",
        "‖g‖ end ÷ mid": "1.500",
        "s/step": "0.062",
    }


def test_several_seeds_have_mean_and_sample_standard_deviation() -> None:
    losses, ends = (1.0, 2.0, 4.5), (64.0, 32.0, 48.0)
    runs = [replace(RUN, seed=i, val_loss=losses[i], hidden_norm_final=ends[i]) for i in range(3)]
    (row,) = summary_rows(runs)
    table = cells(row)
    assert table["seeds"] == "3"
    assert table["validation loss"] == f"2.5000 ± {statistics.stdev(losses):.4f}" == "2.5000 ± 1.8028"
    assert table["‖θ‖ end"] == "48.00 ± 16.00"
    assert table["‖θ‖ end ÷ max"] == "0.750 ± 0.250", "the ratio of each run, not of the means"
    assert table["‖g‖ end"] == "0.750 ± 0.000"


def test_optimizers_come_in_the_order_of_their_first_run_with_their_own_seeds() -> None:
    runs = [
        replace(RUN, optimizer=name, val_loss=loss) for name, loss in (("scion", 2.0), ("mine", 3.0), ("scion", 4.0))
    ]
    rows = summary_rows(runs)
    assert [row[:2] for row in rows] == [("Scion", "2"), ("mine", "1")]
    assert [cells(row)["validation loss"] for row in rows] == ["3.0000 ± 1.4142", "3.0000"]
    assert summary_rows([]) == []


def test_three_optimizers_fit_a_terminal_uncut() -> None:
    runs = [replace(RUN, optimizer=name, seed=seed) for name in ("adamw", "scion", "scionc") for seed in (0, 1)]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(summary_table(runs))
    body = [line for line in console.export_text().splitlines() if "│" in line]
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in body]
    assert shown == [list(line) for line in zip(HEADER, *summary_rows(runs), strict=True)][1:]


def test_what_no_log_says_is_a_dash() -> None:
    row = cells(summary_row("mine", [replace(RUN, grad_norm_final=math.nan), RUN], COLUMNS))
    assert (row["optimizer"], row["seeds"]) == ("mine", "2")
    assert {name for name, text in row.items() if text == "–"} == {"‖g‖ end", "‖g‖ end ÷ mid"}
    assert cells(summary_row("mine", [replace(RUN, hidden_norm_max=0.0)], COLUMNS))["‖θ‖ end ÷ max"] == "–"


def test_accuracy_has_a_column_where_some_run_has_it() -> None:
    assert "accuracy" not in COLUMNS
    runs = [replace(RUN, top1=0.975), replace(RUN, optimizer="adamw", top1=0.25), replace(RUN, optimizer="scion")]
    header = ("optimizer", "seeds", *columns_of(runs))
    rows = [dict(zip(header, row, strict=True)) for row in summary_rows(runs)]
    assert [row["accuracy"] for row in rows] == ["97.50%", "25.00%", "–"]


def test_the_speed_has_a_column_where_all_runs_count_one_thing() -> None:
    runs = [replace(RUN, item="tokens", items_per_second=speed) for speed in (1e5, 2e5)]
    header = ("optimizer", "seeds", *columns_of(runs))
    assert header[-1] == "tokens/s"
    assert dict(zip(header, summary_rows(runs)[0], strict=True))["tokens/s"] == "150,000.0 ± 70,710.7"
    assert not [name for name in columns_of([*runs, replace(RUN, item="images")]) if name.endswith("s/s")]


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_number_is_cut_short_on_a_narrow_terminal(seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    whole = replace(RUN, top1=0.9871, item="images", items_per_second=12_345.6)
    names = ("adamw", "adamc", "scion", "scionc", "scionc_cosine")
    runs = [replace(whole, optimizer=name, seed=seed) for name in names for seed in range(seeds)]
    table = summary_table(runs)
    console = wide_enough(table)
    with console.capture() as capture:
        console.print(table)
    lines = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert all(" ".join(row) in lines for row in summary_rows(runs))
