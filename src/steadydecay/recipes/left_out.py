"""Collect what in a folder of data is not trained on, to report it once with counts and names."""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import final

UNREADABLE = "that cannot be read"
DANGLING = "with a missing link target"
SPECIAL = "special (a pipe, socket or device)"
HIDDEN = "hidden"
LINKED_FOLDER = "behind a link to a folder, which is not followed"
BESIDE_SHARDS = "beside the .bin shards"
NAMED = 5


@final
class LeftOut:
    """Names grouped by the reason for leaving them out. As text, it gives counts and the first names of each reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, why: str) -> None:
        """Count a name, unless the reason is empty."""
        if why:
            self._names[why].append(name)

    def __bool__(self) -> bool:
        return bool(self._names)

    def __str__(self) -> str:
        return "; ".join(f"{len(names):,} {why}: {_listed(names)}" for why, names in self._names.items())


def warn_left_out(folder: Path, left_out: LeftOut) -> None:
    """Issue one warning if anything is left out."""
    if left_out:
        warnings.warn(f"Training on {folder} leaves out {left_out}", stacklevel=2)


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])
