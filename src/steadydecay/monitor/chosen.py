"""Which layers, groups and measures of a record a caller wants, by patterns of their names."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence

Patterns = str | Sequence[str] | None


def chosen_names(names: Iterable[str], patterns: Patterns, argument: str) -> set[str]:
    """The names that one of the patterns matches.

    Args:
        names: all that there are.
        patterns: as `fnmatch` takes them, one or several; None is every name, and an empty list none.
        argument: what a caller calls the patterns.

    Raises:
        ValueError: a pattern that matches nothing, with the nearest names.
        TypeError: patterns of another type.

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
        raise TypeError(f"{argument} is {patterns!r}; legal are a pattern of names, several in a list, or None for all")
    return {name for pattern in several for name in _matches(known, pattern, argument)}


def _matches(names: Sequence[str], pattern: str, argument: str) -> list[str]:
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matches:
        nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or list(names[:3])
        raise ValueError(
            f"{argument} has pattern {pattern!r}, which matches none of {len(names)} names; the nearest are {nearest}"
        )
    return matches
