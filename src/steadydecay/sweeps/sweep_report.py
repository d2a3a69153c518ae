"""What the trials of a sweep say: the best setting, and the map over two fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from steadydecay.sweeps.setting_row import Ranking, SettingRow, ranking_of, setting_rows
from steadydecay.sweeps.sweep_map import SweepMap, chosen_fields, maps_of
from steadydecay.sweeps.sweep_words import TITLES
from steadydecay.sweeps.trial_row import TrialRow


@final
@dataclass(frozen=True)
class SweepReport:
    """What is said of a sweep, on the page and on a terminal.

    Attributes:
        name: of the sweep's folder.
        rows: its trials.
        settings: the same over their seeds.
        ranking: of the settings.
        maps: of the measure over one or two fields.
    """

    name: str
    rows: Sequence[TrialRow]
    settings: Sequence[SettingRow]
    ranking: Ranking
    maps: Sequence[SweepMap]


def sweep_report(
    name: str, rows: Sequence[TrialRow], measure: str = "val_loss", over: str | None = None
) -> SweepReport:
    """What the trials of a sweep say.

    Args:
        name: of the sweep.
        rows: its trials, one or more.
        measure: "val_loss", or "top1" where the trials measured it.
        over: the fields of the maps, as `chosen_fields` takes them.

    Raises:
        ValueError: another measure, or one that no trial has; a field over which the sweep does not go.
    """
    if measure not in TITLES:
        raise ValueError(f"measure is {measure!r}; legal are {', '.join(TITLES)}")
    if measure == "top1" and not any(measure in row.measures for row in rows):
        raise ValueError("measure is 'top1', which no trial of this sweep has; leave it out to see the loss")
    settings = setting_rows(rows)
    maps = maps_of(rows, measure, chosen_fields(rows, over))
    return SweepReport(name, rows, settings, ranking_of(settings, measure), maps)
