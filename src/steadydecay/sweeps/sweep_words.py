"""Say in sentences what a sweep found."""

import math
from collections import Counter
from collections.abc import Sequence

from steadydecay.sweeps.setting_row import Ranking, SettingRow
from steadydecay.sweeps.trial_row import TrialRow

TITLES = {"val_loss": "validation loss", "top1": "accuracy"}
BETTER = {"val_loss": "lower is better", "top1": "higher is better"}
# Further settings are in the table.
MOST_OTHERS = 5


def counts_in_words(rows: Sequence[TrialRow]) -> str:
    """Say how many trials there are, and how they ended.

    >>> counts_in_words([])
    'The sweep has 0 trials: 0 finished.'
    """
    counts = Counter(row.status for row in rows)
    parts = [f"{counts[status]} {status}" for status in ("finished", "diverged", "failed", "missing") if counts[status]]
    return f"The sweep has {len(rows)} trials: {', '.join(parts) or '0 finished'}."


def ranking_in_words(ranking: Ranking) -> list[str]:
    """Name the best setting with its spread, and the others that its seeds cannot tell from it."""
    if ranking.best is None:
        return ["There is no best setting yet, because no setting has finished trials and no diverged ones."]
    spread = ranking.best.spreads[ranking.measure]
    seeds = f"{len(spread.values)} seeds" if len(spread.values) > 1 else "one seed"
    title, better = TITLES[ranking.measure], BETTER[ranking.measure]
    best = f"The best setting is {ranking.best}, with a mean {title} of {spread} over {seeds} ({better})."
    if math.isnan(spread.deviation):
        return [best, "A single seed has no spread. Repeat the sweep with --seed 0 1 2 to see how much is chance."]
    return [best, _others_in_words(ranking)]


def _others_in_words(ranking: Ranking) -> str:
    if not ranking.others:
        settings = "The one other setting" if ranking.worse == 1 else f"All {ranking.worse} other settings"
        is_or_are = "is" if ranking.worse == 1 else "are"
        if not ranking.worse:
            return "There is no other setting with several finished seeds to compare it with."
        return f"{settings} with several seeds {is_or_are} clearly worse (Student's t at 97.5 %)."
    named = "; ".join(_named(one, ranking.measure) for one in ranking.others[:MOST_OTHERS])
    more = len(ranking.others) - MOST_OTHERS
    tail = f"; and {more} more" if more > 0 else ""
    return f"These seeds cannot tell it from {named}{tail} (Student's t at 97.5 %)."


def _named(setting: SettingRow, measure: str) -> str:
    return f"{setting} ({setting.spreads[measure]})"
