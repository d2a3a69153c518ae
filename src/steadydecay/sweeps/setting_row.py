"""One setting of a sweep over its seeds: mean, spread, and the settings that cannot be told from the best."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from steadydecay.report.clear_difference import is_clear
from steadydecay.sweeps.trial_row import TrialRow

SUMMARY_COLUMNS = ("n", "diverged", "failed", "missing", "val_loss_mean", "val_loss_sd", "top1_mean", "top1_sd")


@final
@dataclass(frozen=True)
class Spread:
    """One or more values over seeds, in any unit."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The sample standard deviation, or NaN for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if len(self.values) == 1 else f"{self.mean:.4f} ± {self.deviation:.4f}"


@final
@dataclass(frozen=True)
class SettingRow:
    """A row of `sweep_summary.csv`.

    Attributes:
        setting: The swept fields as text, without the seed.
        counts: The number of trials by status.
        spreads: "val_loss" and "top1" over the finished trials, except what no trial measured.
    """

    setting: Mapping[str, str]
    counts: Mapping[str, int]
    spreads: Mapping[str, Spread]

    @property
    def cells(self) -> dict[str, Any]:
        counts = {name: self.counts.get(name, 0) for name in ("diverged", "failed", "missing")}
        found: dict[str, Any] = {}
        for name in ("val_loss", "top1"):
            spread = self.spreads.get(name)
            found[f"{name}_mean"] = None if spread is None else spread.mean
            found[f"{name}_sd"] = None if spread is None or math.isnan(spread.deviation) else spread.deviation
        return {**self.setting, "n": self.counts.get("finished", 0), **counts, **found}

    def __str__(self) -> str:
        return " ".join(f"{name}={text}" for name, text in self.setting.items())


@final
@dataclass(frozen=True)
class Ranking:
    """The ranking of settings by one measure.

    Attributes:
        measure: "val_loss", where lower is better, or "top1", where higher is.
        best: The setting with the best mean among those without a diverged trial, or None without a finished trial.
        others: The settings without a clear difference from the best at 97.5 %, nearest first.
        worse: The number of settings that are clearly worse. With a single seed, a setting is in neither group.
    """

    measure: str
    best: SettingRow | None
    others: tuple[SettingRow, ...] = ()
    worse: int = 0


def setting_rows(rows: Iterable[TrialRow]) -> list[SettingRow]:
    """Return one row for each setting, in the order of their first trials."""
    groups = grouped(rows, lambda row: tuple(row.setting.items()))
    return [_setting_row(dict(setting), trials) for setting, trials in groups.items()]


def grouped(rows: Iterable[TrialRow], key: Callable[[TrialRow], tuple[Any, ...]]) -> dict[Any, list[TrialRow]]:
    """Group the rows by key, and keep their order."""
    groups: dict[tuple[Any, ...], list[TrialRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def spread_of(rows: Iterable[TrialRow], measure: str) -> Spread | None:
    """Return the spread over the trials that have the measure, or None."""
    values = tuple(row.measures[measure] for row in rows if measure in row.measures)
    return Spread(values) if values else None


def ranking_of(settings: Sequence[SettingRow], measure: str) -> Ranking:
    """Find the best setting, and those that its seeds cannot tell from it."""
    # The mean over the surviving seeds would hide that others did not survive.
    sound = [one for one in settings if measure in one.spreads and not one.counts.get("diverged")]
    sign = -1 if measure == "top1" else 1
    ranked = sorted(sound, key=lambda one: sign * one.spreads[measure].mean)
    if not ranked:
        return Ranking(measure, None)
    best, *rest = ranked
    values = best.spreads[measure].values
    verdicts = [(one, is_clear(values, one.spreads[measure].values)) for one in rest]
    others = tuple(one for one, verdict in verdicts if verdict is False)
    return Ranking(measure, best, others, sum(verdict is True for _, verdict in verdicts))


def _setting_row(setting: dict[str, str], trials: Sequence[TrialRow]) -> SettingRow:
    spreads = {name: spread for name in ("val_loss", "top1") if (spread := spread_of(trials, name)) is not None}
    return SettingRow(setting, Counter(trial.status for trial in trials), spreads)
