"""How runs look in every figure: one colour and one dash per optimizer, told apart without colour too."""

from collections.abc import Iterable

# Okabe and Ito's palette, safe for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "longdash", "dashdot")
TITLES = {"adamw": "AdamW", "adamc": "AdamC", "adam_l2": "Adam-L2", "renormalized_adamw": "RenormAdamW"}
TITLES |= {"lion": "Lion", "lionc": "LionC", "muon": "Muon", "muonc": "MuonC", "sgdw": "SGDW", "sgdc": "SGDC"}
TITLES |= {"scion": "Scion", "scionc": "ScionC"}
# Fixed for the optimizers of the main figure, so that all its pictures agree.
PREFERRED_ORDER = ("scionc", "scion", "adamw")


def style_of(optimizers: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, plotly dash) of each optimizer."""
    names = dict.fromkeys(optimizers)
    ordered = [name for name in PREFERRED_ORDER if name in names] + [n for n in names if n not in PREFERRED_ORDER]
    return {name: (COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]) for i, name in enumerate(ordered)}


def title_of(optimizer: str) -> str:
    """The optimizer's name as its authors write it."""
    return TITLES.get(optimizer, optimizer)
