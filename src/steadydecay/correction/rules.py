"""The rules that `correct_weight_decay` accepts: one for λ, one that replaces the decay, or both at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from steadydecay.theory import DECAY_RULES

# Rules that replace the optimizer's own decay.
CAUTIOUS, HYPERBALL = "cautious", "hyperball"
REPLACEMENTS = (CAUTIOUS, HYPERBALL)
# A name, or a pair of a rule of `DECAY_RULES` and "cautious".
Rule = str | Sequence[str]


class ChosenRule(NamedTuple):
    """What the name of a rule, or a pair of names, stands for.

    Attributes:
        decay: The key of `DECAY_RULES` by which λ follows the schedule.
        replacement: "cautious", "hyperball", or "" if the optimizer decays by λ itself.
    """

    decay: str = "constant"
    replacement: str = ""


def chosen_rule(rule: Rule) -> ChosenRule:
    """Return the rule of one name, or of a decay rule together with "cautious" in either order.

    Raises:
        ValueError: A name is unknown, or the names exclude each other.

    >>> chosen_rule("corrected")
    ChosenRule(decay='corrected', replacement='')
    >>> chosen_rule(("corrected", "cautious"))
    ChosenRule(decay='corrected', replacement='cautious')
    """
    names: list[Any] = list(rule) if isinstance(rule, Sequence) and not isinstance(rule, str) else [rule]
    # A number or a list in the pair is not a name, and may not be hashable.
    names = [name if isinstance(name, str) else None for name in names]
    decays = [name for name in names if name in DECAY_RULES]
    replacements = [name for name in names if name in REPLACEMENTS]
    is_legal = len(decays) <= 1 and len(replacements) <= 1 and HYPERBALL not in replacements[len(names) == 1 :]
    if not names or len(decays) + len(replacements) < len(names) or not is_legal:
        legal = ", ".join(map(repr, (*DECAY_RULES, *REPLACEMENTS)))
        raise ValueError(
            f"decay rule is {rule!r}; it must be one of {legal}, or a pair such as ('corrected', 'cautious')"
        )
    return ChosenRule(*decays, **({"replacement": replacements[0]} if replacements else {}))
