"""One way to refuse a number: its name, its value, what is legal, what to do."""

import math


def require_in(
    name: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    include_low: bool = False,
    remedy: str = "",
) -> None:
    """Raise ValueError unless low < value < high (low ≤ value with `include_low`); NaN is never legal."""
    above_low = value >= low if include_low else value > low
    if above_low and value < high:
        return
    bracket = "[" if include_low else "("
    message = f"{name} is {value!r}; legal is {bracket}{low}, {high})"
    raise ValueError(f"{message}: {remedy}" if remedy else message)
