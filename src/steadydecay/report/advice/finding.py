"""What is found in the numbers of a run."""

from dataclasses import dataclass
from typing import final

# How a finding says what to do about an uncorrected decay, and where the exception is derived.
HOW_TO_CORRECT = 'decay="corrected", ScionC or AdamC, or sd.correct_weight_decay(optimizer)'
APPENDIX_D = "arXiv 2512.08217, Appendix D"


@final
@dataclass(frozen=True)
class Finding:
    """What the numbers of one run show, and what to do about it.

    Attributes:
        title: what was found.
        evidence: the numbers that led to it.
        remedy: what to do, or that nothing is to be done.
        is_fine: nothing is wrong.
        is_of_layers: about single layers; findings about all of them come first.
    """

    title: str
    evidence: str
    remedy: str
    is_fine: bool = False
    is_of_layers: bool = False
