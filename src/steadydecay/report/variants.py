"""Variants: runs that differ only in their seed count as one, with a mean and a spread."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from steadydecay.report.runs import Run
from steadydecay.report.style import PREFERRED_ORDER, Style, style_at, title_of

# The settings that may differ between two seeds of one variant.
NOT_SETTINGS = ("seed", "torch", "world_size")
LONGEST_LABEL = 28


@final
@dataclass(frozen=True, eq=False)
class Variant:
    """Runs of one configuration.

    Attributes:
        label: The optimizer, with the settings that distinguish it from others of the same optimizer.
        runs: The runs, at least one, in the order given.
        style: How the variant is drawn.
    """

    label: str
    runs: tuple[Run, ...]
    style: Style


def variants_of(runs: Sequence[Run]) -> list[Variant]:
    """Group runs by everything in their configuration except the seed. A run without a configuration stays alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    grouped = sorted(groups.values(), key=_rank)
    labels = _labels([group[0] for group in grouped])
    return [
        Variant(label, tuple(group), style_at(i)) for i, (label, group) in enumerate(zip(labels, grouped, strict=True))
    ]


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return {setting: its value in each run as text} for the settings in which runs differ, with "–" for none."""
    names = dict.fromkeys(name for run in runs for name in run.configuration)
    values = {name: [setting_text(run, name) for run in runs] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def setting_text(run: Run, name: str) -> str:
    """Return one setting as JSON, without quotes around a plain string."""
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
    """Label each variant with the optimizer's title if that suffices, else with what differs, else with the run's
    name."""
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
