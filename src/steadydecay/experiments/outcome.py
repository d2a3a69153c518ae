"""What an experiment found: the claim it tested, the numbers, and whether they bear it out."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Group
from rich.table import Table


@final
@dataclass(frozen=True)
class Outcome:
    """The outcome of one experiment of `steadydecay reproduce`.

    Attributes:
        claim: what was tested, in a sentence.
        columns, rows: the measured numbers as text; every row as long as `columns`.
        verdicts: each part of the claim, and whether it holds.
        picture: the PNG that was written.
    """

    claim: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    verdicts: dict[str, bool]
    picture: Path

    def shown(self) -> Group:
        """For a terminal."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for index, (column, *cells) in enumerate(zip(self.columns, *self.rows, strict=True)):
            # On a narrow terminal headers break into lines, numbers never.
            table.add_column(column, justify="right" if index else "left", min_width=max(map(len, cells)))
        for row in self.rows:
            table.add_row(*row)
        judged = (f"{'holds' if holds else 'DOES NOT HOLD'}: {part}" for part, holds in self.verdicts.items())
        return Group(f"claim: {self.claim}", "", table, "", *judged, f"picture: {self.picture}")
