"""Select layers, groups and measures of a record by patterns of their names."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence

Patterns = str | Sequence[str] | None


def chosen_names(names: Iterable[str], patterns: Patterns, argument: str) -> set[str]:
    """Return the names that match one of the patterns.

    Args:
        names: All names.
        patterns: One pattern or several, as `fnmatch` takes them. None selects every name, and an empty list none.
        argument: The caller's name for the patterns.

    Raises:
        ValueError: A pattern matches nothing; the error has the nearest names.
        TypeError: The patterns are of another type.

    >>> sorted(chosen_names(["h.0.up", "h.0.down", "head"], ["h.*", "head"], "layers"))
    ['h.0.down', 'h.0.up', 'head']
    """
    known = list(names)
    if patterns is None:
        return set(known)
    several = [patterns] if isinstance(patterns, str) else patterns
    if (
        not isinstance(several, Iterable)
        or hasattr(several, "ndim")
        or not all(isinstance(pattern, str) for pattern in several)
    ):
        raise TypeError(
            f"{argument} is {patterns!r}; it must be a pattern of names, a list of patterns, or None for all"
        )
    return {name for pattern in several for name in _matches(known, pattern, argument)}


def _matches(names: Sequence[str], pattern: str, argument: str) -> list[str]:
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matches:
        nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or list(names[:3])
        raise ValueError(
            f"{argument} has pattern {pattern!r}, which matches none of {len(names)} names; it must match one, "
            f"and the nearest are {nearest}"
        )
    return matches
