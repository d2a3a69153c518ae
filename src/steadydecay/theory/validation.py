"""Refuse a number that is out of range, with an error that gives its name, its value, the legal range and a remedy."""

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
    message = f"{name} is {value!r}; it must be in {bracket}{low}, {high})"
    raise ValueError(f"{message}: {remedy}" if remedy else message)
