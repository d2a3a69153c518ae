"""Which rules `correct_weight_decay` takes: one for λ, one that takes the place of the decay, or both at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from steadydecay.theory import DECAY_RULES

# Rules that take the place of the optimizer's own decay.
CAUTIOUS, HYPERBALL = "cautious", "hyperball"
REPLACEMENTS = (CAUTIOUS, HYPERBALL)
# A name, or a rule of `DECAY_RULES` and "cautious".
Rule = str | Sequence[str]


class ChosenRule(NamedTuple):
    """What a rule's name, or two names, stand for.

    Attributes:
        decay: A key of `DECAY_RULES`, by which λ follows the schedule.
        replacement: "cautious", "hyperball", or nothing: then the optimizer decays by λ itself.
    """

    decay: str = "constant"
    replacement: str = ""


def chosen_rule(rule: Rule) -> ChosenRule:
    """One name, or a decay rule beside "cautious" in either order.

    Raises:
        ValueError: an unknown name, or names that exclude each other.

    >>> chosen_rule("corrected")
    ChosenRule(decay='corrected', replacement='')
    >>> chosen_rule(("corrected", "cautious"))
    ChosenRule(decay='corrected', replacement='cautious')
    """
    names: list[Any] = list(rule) if isinstance(rule, Sequence) and not isinstance(rule, str) else [rule]
    # A number or a list among them is no name, and may have no hash.
    names = [name if isinstance(name, str) else None for name in names]
    decays = [name for name in names if name in DECAY_RULES]
    replacements = [name for name in names if name in REPLACEMENTS]
    is_legal = len(decays) <= 1 and len(replacements) <= 1 and HYPERBALL not in replacements[len(names) == 1 :]
    if not names or len(decays) + len(replacements) < len(names) or not is_legal:
        legal = ", ".join(map(repr, (*DECAY_RULES, *REPLACEMENTS)))
        raise ValueError(f"decay rule is {rule!r}; legal are {legal}, or a pair such as ('corrected', 'cautious')")
    return ChosenRule(*decays, **({"replacement": replacements[0]} if replacements else {}))
