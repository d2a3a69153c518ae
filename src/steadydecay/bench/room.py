"""Determine how many optimizers fit into memory side by side."""

# Bytes per parameter: shared gradients, and the most that one step takes above weights and state.
SHARED = 4 + 5
# float32 weights and two moments.
OWN = 4 + 8
USABLE = 0.8
GIGA = 1e9


def contenders_beside_reference(parameters: int, memory: int) -> int:
    """Return how many optimizers fit beside ScionC into the usable share of `memory` bytes, or 0 if none does.

    >>> contenders_beside_reference(124_000_000, 24_000_000_000)
    11
    """
    return max(0, int((memory * USABLE / parameters - SHARED) / OWN) - 1)


def require_room(name: str, parameters: int, layers: int, block: int, memory: int) -> int:
    """Return this number for a shape set of `layers` blocks with `block` parameters each.

    Raises:
        ValueError: No optimizer fits. The message says how many layers would.
    """
    count = contenders_beside_reference(parameters, memory)
    if count:
        return count
    needed, rest = (SHARED + 2 * OWN) / USABLE, parameters - layers * block
    fitting = int((memory / needed - rest) / block)
    remedy = f"use --layers {fitting} or fewer" if fitting >= 1 else "use a smaller set"
    raise ValueError(
        f"set {name!r} with {layers} layers has {parameters / GIGA:.2f} billion parameters. Two optimizers side by "
        f"side take {parameters * needed / GIGA:.0f} GB, but this device has {memory / GIGA:.0f} GB; {remedy}"
    )
