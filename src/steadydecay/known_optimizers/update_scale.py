"""How optimizers like Muon scale the polar factor of a matrix by its shape."""

import math
from collections.abc import Callable, Mapping
from typing import Any

ShapeScale = Callable[[int, int], float]


def original(rows: int, columns: int) -> float:
    """Return max(1, √(d_out/d_in)), as in Jordan's Muon."""
    return math.sqrt(max(1.0, rows / columns))


def rms_of_adamw(rows: int, columns: int) -> float:
    """Return 0.2 √max(d_out, d_in), which makes updates as large as AdamW's (arXiv 2502.16982)."""
    return 0.2 * math.sqrt(max(rows, columns))


def rms_to_rms(rows: int, columns: int) -> float:
    """Return √(d_out/d_in), as in Scion (arXiv 2502.07529)."""
    return math.sqrt(rows / columns)


# Group keys and the meaning of each of their values (torch, timm and torchtitan; Dion; pytorch_optimizer).
SCALE_OF: dict[str, dict[Any, ShapeScale]] = {
    "adjust_lr_fn": {
        None: original,
        "original": original,
        "match_rms_adamw": rms_of_adamw,
        "rms_to_rms": rms_to_rms,
        "spectral_unclamped": rms_to_rms,
    },
    "adjust_lr": {None: lambda rows, columns: 1.0, "spectral_norm": rms_to_rms, "rms_norm": rms_of_adamw},
    "use_adjusted_lr": {False: original, True: rms_of_adamw},
}


def polar_scale(group: Mapping[str, Any], rows: int, columns: int) -> float:
    """Return the factor by which a group's optimizer multiplies the polar factor of a matrix, or NaN if no key says so.

    >>> polar_scale({"adjust_lr_fn": "match_rms_adamw"}, 25, 4), polar_scale({}, 25, 4)
    (1.0, nan)
    """
    for key, scales in SCALE_OF.items():
        if key in group and group[key] in scales:
            return scales[group[key]](rows, columns)
    return math.nan
