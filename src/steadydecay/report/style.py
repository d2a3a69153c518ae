"""How runs look in every figure: colour, dash and marker, so that they can be told apart without colour."""

from dataclasses import dataclass
from typing import final

from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS

# Okabe and Ito's palette, safe for colour-blind readers, with grey instead of black, which a dark page would hide.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
# "dot" is reserved for predictions. Each name is followed by its stroke-dasharray in SVG.
SVG_DASHES = {"solid": "none", "dash": "9 5", "longdash": "14 5", "dashdot": "9 4 2 4", "longdashdot": "14 4 2 4"}
# Symbols, and the same as text for labels at the end of a line.
GLYPHS = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "triangle-down": "▼"}
GLYPHS |= {"cross": "✚", "x": "✖", "star": "★"}
# Fixed for the optimizers of the main figure, so that all its pictures look alike.
PREFERRED_ORDER = ("scionc", "scion", "adamw")


@final
@dataclass(frozen=True)
class Style:
    """How one variant is drawn, in plotly's names."""

    colour: str
    dash: str
    symbol: str

    @property
    def glyph(self) -> str:
        return GLYPHS[self.symbol]

    @property
    def svg_dash(self) -> str:
        return SVG_DASHES[self.dash]


def style_at(index: int) -> Style:
    """Return the style of the variant with this number. 280 of them differ."""
    dashes, symbols = tuple(SVG_DASHES), tuple(GLYPHS)
    return Style(COLOURS[index % len(COLOURS)], dashes[index % len(dashes)], symbols[index % len(symbols)])


def title_of(optimizer: str) -> str:
    """Return the optimizer's name as its authors write it."""
    named = NAMED_OPTIMIZERS.get(optimizer)
    return named.title if named else optimizer
