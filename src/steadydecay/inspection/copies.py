"""Find networks in a checkpoint that copy others: the average of a student, or the target of an online network."""

import re
from collections.abc import Iterable

from steadydecay.inspection.stored_weight import StoredWeight

# Name parts of copies, alone or at the end: teacher, model_ema, target_encoder, encoder_k, q_net_target.
COPY = re.compile(r"(?:.*_)?(?:teacher|ema|target|momentum|averaged|shadow|swa|ref)(?:_.*)?|.+_k")


def originals(weights: Iterable[StoredWeight]) -> dict[str, str]:
    """Map each weight of a copy to the name of the weight that it copies.

    A network is a copy if a part of its name says so and another one beside it has all its weights, by name and shape.

    >>> names = ("student.a.weight", "student.b.weight", "teacher.a.weight", "target.weight")
    >>> originals([StoredWeight(name, (2, 2), "float32") for name in names])
    {'teacher.a.weight': 'student.a.weight'}
    """
    shapes = {one.name: one.shape for one in weights}
    # Copies are distinguished by their place and by the name of the part.
    copies: dict[tuple[str, str], list[tuple[str, str]]] = {}
    beside: dict[tuple[str, str], dict[str, str]] = {}
    for name in shapes:
        parts = name.split(".")
        for depth in range(len(parts) - 1):
            above, part, below = ".".join(parts[:depth]), parts[depth], ".".join(parts[depth + 1 :])
            beside.setdefault((above, below), {})[part] = name
            if COPY.fullmatch(part.lower()):
                copies.setdefault((above, part), []).append((below, name))
    found: dict[str, str] = {}
    for (above, _), members in copies.items():
        pairs = {name: beside[above, below] for below, name in members}
        found |= _paired(pairs, shapes)
    return found


def _paired(pairs: dict[str, dict[str, str]], shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Pair each name of a copy with that in the only network beside it that has them all; empty without one."""
    beside = set.intersection(*map(set, pairs.values()))
    for other in sorted(one for one in beside if not COPY.fullmatch(one.lower())):
        paired = {name: of_parts[other] for name, of_parts in pairs.items()}
        if all(shapes[name] == shapes[original] for name, original in paired.items()):
            return paired
    return {}
