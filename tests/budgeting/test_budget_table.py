"""A budget in words and columns."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from steadydecay.budgeting.budget_table import (
    AssumedGPU,
    comparable_hours,
    comparison_table,
    devices_table,
    run_table,
)
from steadydecay.budgeting.measured_pace import MeasuredPace
from steadydecay.budgeting.run_budget import DeviceShare, RunBudget, hours_at_flops, time_share

SHARES = tuple(DeviceShare(count, 4_000, 4_000, 8_000, None, 16_000 // count, 500 // count) for count in (1, 4))
BUDGET = RunBudget(
    "scionc seed 0", {"hidden": 900, "output": 100}, 3_600, 10, "tokens", 20, 500, 99.9, 500, 12_000, 2, SHARES
)
GPU = AssumedGPU(4_000.0, 0.25)
PACE = MeasuredPace("run.jsonl", "Some GPU", 2, "scionc", 5.0, 0.125)


def shown(table: Table) -> list[list[str]]:
    """Cells of each line, two spaces apart."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in capture.get().splitlines()]


def test_a_run_in_words() -> None:
    assert shown(run_table(BUDGET)) == [
        ["parameters", "1,000 (hidden 900, output 100)"],
        ["steps", "3,600 of 10 × 20 tokens"],
        ["tokens", "720,000 (720 k), 72 times the data"],
        ["FLOPs of the model", "3.6 MFLOP, forward and backward"],
        ["FLOPs of the optimizer", "3.6 MFLOP in matrix products"],
        ["share of the optimizer", "50.03% of all FLOPs"],
        ["checkpoints on disk", "24 kB: 2 of 12 kB"],
    ]


def test_devices_have_a_column_each_and_a_guess_is_called_one() -> None:
    lines = {line[0]: line[1:] for line in shown(devices_table(BUDGET, GPU, [PACE]))}
    assert lines["weights"] == ["4 kB", "4 kB"]
    assert lines["temporaries of the optimizer's step"] == ["–", "–"]
    assert lines["the most at the same time"] == ["32 kB", "20 kB"]
    assert lines["time of the run (a guess: 25% of 4 kFLOP/s)"] == ["2 h", "30 min"]
    (measured,) = [line for name, line in lines.items() if "Some GPU" in name]
    assert measured == ["10 h", "2.5 h"], "2 GPUs took 5 h"


def test_hours_are_those_of_the_busiest_device() -> None:
    busy = replace(SHARES[1], multiplications=250)
    even = hours_at_flops(BUDGET, SHARES[1], 1_000)
    assert even == pytest.approx(3_600 * (999 + 1_000) / 4 / 1_000 / 3_600)
    assert hours_at_flops(BUDGET, busy, 1_000) == pytest.approx(even + 3_600 * 2 * 125 / 1_000 / 3_600)
    assert time_share(BUDGET, busy) == pytest.approx(500 / (500 + 999 / 4))


def test_a_comparison_has_a_line_for_each_run_and_the_total() -> None:
    hours, source = comparable_hours([BUDGET, BUDGET], GPU, [[PACE], [PACE]])
    header, first, *_, last = shown(comparison_table([BUDGET, BUDGET], hours))
    assert header[-4:] == ["memory, 1", "memory, 4", "time, 1", "time, 4"]
    line = ["scionc seed 0", "1 k", "720 k", "7.2 M", "50.03%", "24 kB", "32 kB", "20 kB", "10 h", "2.5 h"]
    assert first == line
    assert last == ["together", "1.44 M", "14.4 M", "48 kB", "20 h", "5 h"]
    assert source.startswith("measured on 2 × Some GPU under scionc, of which the optimizer took 12.50%")


@pytest.mark.parametrize("other", [[], [replace(PACE, device="a CPU")]])
def test_a_measured_and_a_guessed_time_are_not_added(other: list[MeasuredPace]) -> None:
    hours, source = comparable_hours([BUDGET, BUDGET], GPU, [[PACE], other])
    assert source == "a guess: 25% of 4 kFLOP/s"
    assert hours[0] == hours[1] == pytest.approx([2.0, 0.5], rel=1e-3)
