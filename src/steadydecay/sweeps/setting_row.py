"""One setting of a sweep over its seeds: mean, spread, and which settings its seeds cannot tell from the best."""

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
    """Values over seeds, in whatever unit they have; one or more."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The sample standard deviation; NaN for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if len(self.values) == 1 else f"{self.mean:.4f} ± {self.deviation:.4f}"


@final
@dataclass(frozen=True)
class SettingRow:
    """A row of `sweep_summary.csv`.

    Attributes:
        setting: the swept fields as text, without the seed.
        counts: trials by status.
        spreads: "val_loss" and "top1" over the finished trials; without those that no trial measured.
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
    """Attributes:
    measure: "val_loss", where less is better, or "top1", where more is.
    best: the setting with the best mean among those of which no trial diverged; None without a finished trial.
    others: settings without a clear difference from the best at 97.5 %, nearest first.
    worse: how many settings are clearly worse. Where a single seed tells no spread, a setting is neither.
    """

    measure: str
    best: SettingRow | None
    others: tuple[SettingRow, ...] = ()
    worse: int = 0


def setting_rows(rows: Iterable[TrialRow]) -> list[SettingRow]:
    """One for each setting, in the order of their first trials."""
    groups = grouped(rows, lambda row: tuple(row.setting.items()))
    return [_setting_row(dict(setting), trials) for setting, trials in groups.items()]


def grouped(rows: Iterable[TrialRow], key: Callable[[TrialRow], tuple[Any, ...]]) -> dict[Any, list[TrialRow]]:
    """The rows of each key, in their order."""
    groups: dict[tuple[Any, ...], list[TrialRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def spread_of(rows: Iterable[TrialRow], measure: str) -> Spread | None:
    """Over the trials that measured it."""
    values = tuple(row.measures[measure] for row in rows if measure in row.measures)
    return Spread(values) if values else None


def ranking_of(settings: Sequence[SettingRow], measure: str) -> Ranking:
    """The best setting, and those that its seeds cannot tell from it."""
    # The mean over the seeds that survived would hide that others did not.
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
