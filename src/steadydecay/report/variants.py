"""Variants: runs that differ in nothing but their seed count as one thing with a mean and a spread."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from steadydecay.report.runs import Run
from steadydecay.report.style import PREFERRED_ORDER, Style, style_at, title_of

# What may differ between two seeds of one variant.
NOT_SETTINGS = ("seed", "torch", "world_size")
LONGEST_LABEL = 28


@final
@dataclass(frozen=True, eq=False)
class Variant:
    """Runs of one configuration.

    Attributes:
        label: the optimizer, with the settings that tell it from others of the same optimizer.
        runs: one or more, in the order given.
        style: how it is drawn.
    """

    label: str
    runs: tuple[Run, ...]
    style: Style


def variants_of(runs: Sequence[Run]) -> list[Variant]:
    """Runs grouped by everything in their configuration but the seed; a run without one stays alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    grouped = sorted(groups.values(), key=_rank)
    labels = _labels([group[0] for group in grouped])
    return [
        Variant(label, tuple(group), style_at(i)) for i, (label, group) in enumerate(zip(labels, grouped, strict=True))
    ]


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """{setting: its value in each run as text} of the settings in which the runs differ; "–" where one has none."""
    names = dict.fromkeys(name for run in runs for name in run.configuration)
    values = {name: [setting_text(run, name) for run in runs] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def setting_text(run: Run, name: str) -> str:
    """One setting as JSON, without quotes around a plain string."""
    if name not in run.configuration:
        return "–"
    value = run.configuration[name]
    return value if isinstance(value, str) else _as_text(value)


def _identity(run: Run) -> str:
    if not run.configuration:
        return f"without configuration: {run.name}"
    return _as_text({key: value for key, value in run.configuration.items() if key not in NOT_SETTINGS})


def _rank(group: list[Run]) -> int:
    optimizer = group[0].optimizer
    return PREFERRED_ORDER.index(optimizer) if optimizer in PREFERRED_ORDER else len(PREFERRED_ORDER)


def _labels(firsts: Sequence[Run]) -> list[str]:
    """One for each variant: the optimizer's title if that is enough, else with what differs, else the run's name."""
    labels = [_label(run, [rival for rival in firsts if _title(rival) == _title(run)]) for run in firsts]
    counts = Counter(labels)
    return [
        label if counts[label] == 1 and len(label) <= LONGEST_LABEL else run.name
        for run, label in zip(firsts, labels, strict=True)
    ]


def _title(run: Run) -> str:
    return title_of(run.optimizer) or run.name


def _label(run: Run, rivals: Sequence[Run]) -> str:
    differing = [name for name in differing_settings(rivals) if name not in NOT_SETTINGS]
    return " ".join([_title(run), *(f"{name}={setting_text(run, name)}" for name in differing)])


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
