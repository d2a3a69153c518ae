"""What of a folder of data is not trained on: counted, named and said once."""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import final

UNREADABLE = "that cannot be read"
DANGLING = "links to nothing"
SPECIAL = "that are no plain files"
HIDDEN = "hidden"
LINKED_FOLDER = "links to folders, which are not followed"
BESIDE_SHARDS = "beside the .bin shards"
NAMED = 5


@final
class LeftOut:
    """Names by the reason why they are left out; its text counts them and names the first of each reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, why: str) -> None:
        """Count a name; an empty reason counts nothing."""
        if why:
            self._names[why].append(name)

    def __bool__(self) -> bool:
        return bool(self._names)

    def __str__(self) -> str:
        return "; ".join(f"{len(names):,} {why}: {_listed(names)}" for why, names in self._names.items())


def warn_left_out(folder: Path, left_out: LeftOut) -> None:
    """One warning, if anything is left out."""
    if left_out:
        warnings.warn(f"{folder} is trained on without {left_out}", stacklevel=2)


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])
