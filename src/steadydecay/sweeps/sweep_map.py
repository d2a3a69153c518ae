"""A sweep over two of its fields: one map for each optimizer, whose cells are means."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from steadydecay.recipes.overrides import nearest
from steadydecay.sweeps.setting_row import Spread, grouped, spread_of
from steadydecay.sweeps.trial_row import TrialRow

OPTIMIZER = "optimizer"
UNFINISHED = ("diverged", "failed", "missing")
# (row, column), the values of a map's two fields; a row is "" where the map has one field.
Place = tuple[str, str]


@final
@dataclass(frozen=True)
class MapCell:
    """Attributes:
    counts: trials by status.
    spread: of the measure over the finished trials of the cell; None without one.
    is_mean_of_settings: its trials differ in more than their seed, so that their deviation is not one over seeds.
    """

    counts: Mapping[str, int]
    spread: Spread | None
    is_mean_of_settings: bool

    @property
    def value(self) -> str:
        """The mean, and its spread over seeds, as text; "" without a finished trial."""
        if self.spread is None:
            return ""
        return f"{self.spread.mean:.4f}" if self.is_mean_of_settings else str(self.spread)

    @property
    def note(self) -> str:
        """What became of trials that did not finish, or ""."""
        return unfinished_in_words(self.counts)


@final
@dataclass(frozen=True)
class SweepMap:
    """Attributes:
    title: the optimizer, or "" where a field of the map is the optimizer.
    measure: "val_loss" or "top1".
    across, down: names of the fields; `down` is "" in a sweep of one field.
    columns, rows: their values as text, numbers in their order.
    cells: (row, column) -> cell, without those that no trial has.
    averaged: names of other swept fields, over which cells are means.
    """

    title: str
    measure: str
    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: Mapping[Place, MapCell]
    averaged: tuple[str, ...]


def maps_of(rows: Sequence[TrialRow], measure: str, over: Sequence[str]) -> list[SweepMap]:
    """One map for each optimizer, over two fields; one in all where the optimizer is one of the two.

    Args:
        rows: the trials of a sweep.
        measure: "val_loss" or "top1".
        over: one or two of the swept fields, as `chosen_fields` gives them: across, then down.
    """
    across, down = (*over, "")[:2]
    is_whole = OPTIMIZER in over
    groups = {("",): list(rows)} if is_whole else grouped(rows, lambda row: (row.setting[OPTIMIZER],))
    averaged = tuple(name for name in varied_fields(rows) if name not in (*over, OPTIMIZER))
    # The same columns and rows in each map, so that the eye can compare them.
    columns = _in_order(row.setting[across] for row in rows)
    lines = _in_order(row.setting[down] for row in rows) if down else ("",)
    return [
        SweepMap(title, measure, across, down, columns, lines, _cells(group, measure, across, down), averaged)
        for (title,), group in groups.items()
    ]


def chosen_fields(rows: Sequence[TrialRow], over: str | None) -> tuple[str, ...]:
    """The fields of the map: those that are asked for, else the two with the most values, else the one with several.

    Args:
        rows: the trials of a sweep.
        over: one or two names, separated by a comma; None for the default.

    Raises:
        ValueError: a name that is no field of the sweep, the same one twice, or more than two.
    """
    fields = tuple(rows[0].setting)
    if over is None:
        varied = varied_fields(rows)
        # The optimizer last: maps side by side tell optimizers apart better than a row for each.
        by_count = sorted(varied, key=lambda name: (name == OPTIMIZER, -len(_values(rows, name))))
        return tuple(by_count[:2]) or fields[:1]
    names = tuple(name.strip() for name in over.split(","))
    for name in names:
        if name not in fields:
            raise ValueError(f"over names {name!r}, over which this sweep does not go{nearest(name, fields)}")
    if len(names) > 2 or len(set(names)) < len(names):
        raise ValueError(f"over is {over!r}; legal are one or two different fields of {', '.join(fields)}")
    return names


def varied_fields(rows: Sequence[TrialRow]) -> list[str]:
    """Swept fields with more than one value."""
    return [name for name in rows[0].setting if len(_values(rows, name)) > 1]


def unfinished_in_words(counts: Mapping[str, int]) -> str:
    """What became of trials that did not finish, from counts by status; "" if all finished.

    >>> unfinished_in_words({"finished": 2, "diverged": 1, "missing": 3})
    '1 diverged, 3 missing'
    """
    return ", ".join(f"{counts[status]} {status}" for status in UNFINISHED if counts.get(status))


def _values(rows: Iterable[TrialRow], name: str) -> set[str]:
    return {row.setting[name] for row in rows}


def _cells(rows: Sequence[TrialRow], measure: str, across: str, down: str) -> dict[Place, MapCell]:
    groups = grouped(rows, lambda row: (row.setting[down] if down else "", row.setting[across]))
    return {place: _cell(trials, measure) for place, trials in groups.items()}


def _cell(trials: Sequence[TrialRow], measure: str) -> MapCell:
    settings = {tuple(row.setting.items()) for row in trials}
    return MapCell(Counter(row.status for row in trials), spread_of(trials, measure), len(settings) > 1)


def _in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """Numbers from the smallest on, before other texts; those in the order in which they come."""
    different = list(dict.fromkeys(texts))

    def place(text: str) -> tuple[bool, float]:
        try:
            return False, float(text)
        except ValueError:
            return True, different.index(text)

    return tuple(sorted(different, key=place))
