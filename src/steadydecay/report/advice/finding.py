"""What was found in the numbers of a run."""

from dataclasses import dataclass
from typing import final

# How findings tell the reader to correct a decay, and the source that derives the exception.
HOW_TO_CORRECT = 'set decay="corrected", use ScionC or AdamC, or call sd.correct_weight_decay(optimizer)'
APPENDIX_D = "arXiv 2512.08217, Appendix D"


@final
@dataclass(frozen=True)
class Finding:
    """What the numbers of one run show, and what to do about it.

    Attributes:
        title: What was found.
        evidence: The numbers that led to the finding.
        remedy: What to do, or that nothing needs to be done.
        is_fine: Whether nothing is wrong.
        is_of_layers: Whether it concerns single layers. Findings about all layers come first.
    """

    title: str
    evidence: str
    remedy: str
    is_fine: bool = False
    is_of_layers: bool = False
