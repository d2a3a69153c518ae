"""Map a sweep over two of its fields: one map for each optimizer, whose cells are means."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from steadydecay.recipes.overrides import nearest
from steadydecay.sweeps.setting_row import Spread, grouped, spread_of
from steadydecay.sweeps.trial_row import TrialRow

OPTIMIZER = "optimizer"
UNFINISHED = ("diverged", "failed", "missing")
# (row, column), the values of a map's two fields. The row is "" if the map has only one field.
Place = tuple[str, str]


@final
@dataclass(frozen=True)
class MapCell:
    """A cell of a map.

    Attributes:
        counts: The number of trials by status.
        spread: The measure over the finished trials of the cell, or None without one.
        is_mean_of_settings: Whether its trials differ in more than the seed, so that it has no deviation over seeds.
    """

    counts: Mapping[str, int]
    spread: Spread | None
    is_mean_of_settings: bool

    @property
    def value(self) -> str:
        """The mean and its spread over seeds as text, or "" without a finished trial."""
        if self.spread is None:
            return ""
        return f"{self.spread.mean:.4f}" if self.is_mean_of_settings else str(self.spread)

    @property
    def note(self) -> str:
        """What happened to trials that did not finish, or ""."""
        return unfinished_in_words(self.counts)


@final
@dataclass(frozen=True)
class SweepMap:
    """A map of a sweep.

    Attributes:
        title: The optimizer, or "" if the optimizer is a field of the map.
        measure: "val_loss" or "top1".
        across, down: The names of the fields. `down` is "" in a sweep of one field.
        columns, rows: The fields' values as text, with numbers in increasing order.
        cells: (row, column) -> cell, without cells that no trial has.
        averaged: The names of other swept fields, over which cells are means.
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
    """Return one map over two fields for each optimizer, or a single one if the optimizer is one of the two.

    Args:
        rows: The trials of a sweep.
        measure: "val_loss" or "top1".
        over: One or two of the swept fields, as `chosen_fields` returns them: columns, then rows.
    """
    across, down = (*over, "")[:2]
    is_whole = OPTIMIZER in over
    groups = {("",): list(rows)} if is_whole else grouped(rows, lambda row: (row.setting[OPTIMIZER],))
    averaged = tuple(name for name in varied_fields(rows) if name not in (*over, OPTIMIZER))
    # All maps have the same columns and rows, so that they can be compared by eye.
    columns = _in_order(row.setting[across] for row in rows)
    lines = _in_order(row.setting[down] for row in rows) if down else ("",)
    return [
        SweepMap(title, measure, across, down, columns, lines, _cells(group, measure, across, down), averaged)
        for (title,), group in groups.items()
    ]


def chosen_fields(rows: Sequence[TrialRow], over: str | None) -> tuple[str, ...]:
    """Choose the fields of the map: those that are asked for or, by default, the two with the most values.

    Args:
        rows: The trials of a sweep.
        over: One or two names, separated by a comma, or None for the default.

    Raises:
        ValueError: A name is not a field of the sweep, it occurs twice, or there are more than two.
    """
    fields = tuple(rows[0].setting)
    if over is None:
        varied = varied_fields(rows)
        # The optimizer comes last, because maps side by side distinguish optimizers better than rows do.
        by_count = sorted(varied, key=lambda name: (name == OPTIMIZER, -len(_values(rows, name))))
        return tuple(by_count[:2]) or fields[:1]
    names = tuple(name.strip() for name in over.split(","))
    for name in names:
        if name not in fields:
            raise ValueError(f"over names {name!r}, which is not a swept field{nearest(name, fields)}")
    if len(names) > 2 or len(set(names)) < len(names):
        raise ValueError(f"over is {over!r}; it must name one or two different fields of {', '.join(fields)}")
    return names


def varied_fields(rows: Sequence[TrialRow]) -> list[str]:
    """Return the swept fields with more than one value."""
    return [name for name in rows[0].setting if len(_values(rows, name)) > 1]


def unfinished_in_words(counts: Mapping[str, int]) -> str:
    """Say what happened to trials that did not finish, from counts by status; return "" if all finished.

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
    """Sort numbers in increasing order, before other texts, which keep their order."""
    different = list(dict.fromkeys(texts))

    def place(text: str) -> tuple[bool, float]:
        try:
            return False, float(text)
        except ValueError:
            return True, different.index(text)

    return tuple(sorted(different, key=place))
