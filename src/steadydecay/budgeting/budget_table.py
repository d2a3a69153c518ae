"""Show a budget as tables for a terminal: one run in detail, or one line for each of several runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from rich.table import Table

from steadydecay.budgeting.measured_pace import MeasuredPace
from steadydecay.budgeting.run_budget import (
    DeviceShare,
    RunBudget,
    hours_at_flops,
    hours_at_pace,
    in_time,
    in_units,
    time_share,
)
from steadydecay.recipes.progress import rounded


@final
@dataclass(frozen=True)
class AssumedGPU:
    """The assumed speed of a GPU, for runs without measurements.

    Attributes:
        flops: The FLOP/s that the GPU could reach at most.
        utilisation: The share of them that training reaches.
    """

    flops: float
    utilisation: float

    @property
    def reached(self) -> float:
        return self.flops * self.utilisation

    def __str__(self) -> str:
        return f"a guess: {self.utilisation:.0%} of {in_units(self.flops, 'FLOP/s')}"


def run_table(budget: RunBudget) -> Table:
    """Tabulate what the run is, independent of the devices."""
    table = _plain_table()
    whole = sum(budget.parameters.values())
    roles = ", ".join(f"{role} {count:,}" for role, count in budget.parameters.items())
    table.add_row("parameters", f"{whole:,} ({roles})")
    of_each = f" × {budget.items_per_example:,}" if budget.items_per_example != 1 else ""
    table.add_row("steps", f"{budget.steps:,} of {budget.examples:,}{of_each} {budget.items}")
    epochs = "" if budget.epochs is None else f", {rounded(budget.epochs)} times the data"
    table.add_row(budget.items, f"{budget.all_items:,} ({in_units(budget.all_items)}){epochs}")
    table.add_row("FLOPs of the model", f"{in_units(budget.model_flops, 'FLOP')}, forward and backward")
    table.add_row("FLOPs of the optimizer", f"{in_units(budget.optimizer_flops, 'FLOP')} in matrix products")
    table.add_row("share of the optimizer", f"{budget.optimizer_share:.2%} of all FLOPs")
    one, kept = in_units(budget.checkpoint_bytes, "B"), budget.checkpoints
    table.add_row("checkpoints on disk", f"{in_units(kept * budget.checkpoint_bytes, 'B')}: {kept} of {one}")
    return table


def devices_table(budget: RunBudget, gpu: AssumedGPU, paces: Sequence[MeasuredPace]) -> Table:
    """Tabulate the memory of a device and the hours of the run, with a column for each number of devices."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column("on the busiest device of", max_width=60)
    for share in budget.shares:
        table.add_column(f"{share.devices:,}", justify="right", no_wrap=True)
    for name, of in _MEMORY.items():
        table.add_row(name, *(_bytes(of(share)) for share in budget.shares))
    shares = (f"{time_share(budget, share):.2%}" for share in budget.shares)
    table.add_row("the optimizer's share of the time, if all matrix products run equally fast", *shares)
    guessed = (in_time(hours) for hours in _guessed_hours(budget, gpu))
    table.add_row(f"time of the run ({gpu})", *guessed)
    for pace in paces:
        table.add_row(f"time of the run ({pace_in_words(pace)})", *map(in_time, _measured_hours(budget, pace)))
    return table


def comparison_table(budgets: Sequence[RunBudget], hours: Sequence[Sequence[float]]) -> Table:
    """Tabulate each run in a line, and the total.

    Args:
        budgets: The runs, all of one recipe and for the same numbers of devices.
        hours: The result of `comparable_hours`.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    counts = [share.devices for share in budgets[0].shares]
    names = [f"memory, {count}" for count in counts] + [f"time, {count}" for count in counts]
    for name in ("run", "parameters", budgets[0].items, "FLOP", "optimizer", "disk", *names):
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for budget, own in zip(budgets, hours, strict=True):
        memory = (in_units(share.most_bytes, "B") for share in budget.shares)
        parameters, share = in_units(sum(budget.parameters.values())), f"{budget.optimizer_share:.2%}"
        table.add_row(budget.label, parameters, *_sums([budget], share), *memory, *map(in_time, own))
    totals = (in_time(math.fsum(column)) for column in zip(*hours, strict=True))
    table.add_section()
    table.add_row("together", "", *_sums(budgets, ""), *("" for _ in counts), *totals)
    return table


def comparable_hours(
    budgets: Sequence[RunBudget], gpu: AssumedGPU, paces: Sequence[Sequence[MeasuredPace]]
) -> tuple[list[list[float]], str]:
    """Return the hours of each run by number of devices, and where they come from.

    If every run was measured on one kind of device, the hours are measured. Otherwise all of them are estimated,
    because
    a sum of measured and estimated hours would be meaningless.
    """
    first = [of_run[0] for of_run in paces if of_run]
    if len(first) == len(budgets) and len({pace.device for pace in first}) == 1:
        sources = "; ".join(dict.fromkeys(map(pace_in_words, first)))
        return [_measured_hours(one, pace) for one, pace in zip(budgets, first, strict=True)], sources
    return [_guessed_hours(one, gpu) for one in budgets], str(gpu)


def pace_in_words(pace: MeasuredPace) -> str:
    share = "" if pace.optimizer_share is None else f", of which the optimizer took {pace.optimizer_share:.2%}"
    many = f"{pace.devices} × " if pace.devices > 1 else ""
    return f"measured on {many}{pace.device} under {pace.optimizer}{share}, in {pace.source}"


_MEMORY: dict[str, Callable[[DeviceShare], int | None]] = {
    "weights": lambda share: share.weight_bytes,
    "gradients": lambda share: share.gradient_bytes,
    "optimizer state": lambda share: share.state_bytes,
    "temporaries of the optimizer's step": lambda share: share.temporary_bytes,
    "activations (an estimate)": lambda share: share.activation_bytes,
    "the most at the same time": lambda share: share.most_bytes,
}


def _plain_table() -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    return table


def _bytes(number: int | None) -> str:
    return "–" if number is None else in_units(number, "B")


def _sums(budgets: Sequence[RunBudget], share: str) -> tuple[str, ...]:
    items, flops = sum(one.all_items for one in budgets), math.fsum(one.all_flops for one in budgets)
    disk = sum(one.checkpoints * one.checkpoint_bytes for one in budgets)
    return in_units(items), in_units(flops), share, in_units(disk, "B")


def _measured_hours(budget: RunBudget, pace: MeasuredPace) -> list[float]:
    counts = [share.devices for share in budget.shares]
    return [hours_at_pace(budget.steps, pace.seconds_per_step, count, pace.devices) for count in counts]


def _guessed_hours(budget: RunBudget, gpu: AssumedGPU) -> list[float]:
    return [hours_at_flops(budget, share, gpu.reached) for share in budget.shares]
