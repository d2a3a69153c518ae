"""What the trials of a sweep show: the best setting, and the map over two fields."""

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
    """What the page and the terminal say about a sweep.

    Attributes:
        name: The name of the sweep's folder.
        rows: The trials.
        settings: The trials aggregated over seeds.
        ranking: The ranking of the settings.
        maps: The maps of the measure over one or two fields.
    """

    name: str
    rows: Sequence[TrialRow]
    settings: Sequence[SettingRow]
    ranking: Ranking
    maps: Sequence[SweepMap]


def sweep_report(
    name: str, rows: Sequence[TrialRow], measure: str = "val_loss", over: str | None = None
) -> SweepReport:
    """Evaluate the trials of a sweep.

    Args:
        name: The name of the sweep.
        rows: The trials, at least one.
        measure: "val_loss", or "top1" if the trials measured it.
        over: The fields of the maps, as for `chosen_fields`.

    Raises:
        ValueError: The measure is unknown or no trial has it, or `over` names a field that was not swept.
    """
    if measure not in TITLES:
        raise ValueError(f"measure is {measure!r}; it must be one of {', '.join(TITLES)}")
    if measure == "top1" and not any(measure in row.measures for row in rows):
        raise ValueError("measure is 'top1', but no trial of this sweep measured it; leave it out to see the loss")
    settings = setting_rows(rows)
    maps = maps_of(rows, measure, chosen_fields(rows, over))
    return SweepReport(name, rows, settings, ranking_of(settings, measure), maps)
