"""The parameters of models whose steps are not measured, but whose cost on many ranks is computed."""

import math
from dataclasses import dataclass
from typing import final

from steadydecay.bench.shape_sets import SHAPE_SETS, Entry, ShapeSet, matrices, vectors


def llama(layers: int, width: int, keys: int, hidden: int, vocabulary: int = 128256) -> ShapeSet:
    """Return a model with grouped keys and values, a gated MLP, and an output that is separate from the embedding."""
    return ShapeSet(
        layers,
        matrices(q=(width, width), k=(keys, width), v=(keys, width), o=(width, width))
        + matrices(gate=(hidden, width), up=(hidden, width), down=(width, hidden))
        + vectors(norm1_gain=width, norm2_gain=width),
        (
            Entry("tokens", (vocabulary, width), "embedding"),
            Entry("output", (vocabulary, width), "output"),
            *vectors(norm_gain=width),
        ),
    )


def qwen3_mixture(layers: int, width: int, experts: int, hidden: int) -> ShapeSet:
    """Return a model with attention heads of 128, four of them for keys and values, and a stack of experts."""
    return ShapeSet(
        layers,
        (
            *matrices(q=(4096, width), k=(512, width), v=(512, width), o=(width, 4096), router=(experts, width)),
            Entry("experts_gate", (experts, hidden, width), "hidden"),
            Entry("experts_up", (experts, hidden, width), "hidden"),
            Entry("experts_down", (experts, width, hidden), "hidden"),
            *vectors(norm1_gain=width, norm2_gain=width, q_gain=128, k_gain=128),
        ),
        (
            Entry("tokens", (151936, width), "embedding"),
            Entry("output", (151936, width), "output"),
            *vectors(norm_gain=width),
        ),
    )


@final
@dataclass(frozen=True)
class CostedModel:
    """A model, and the share of its experts that a token passes through, which is 1 without experts."""

    shapes: ShapeSet
    share_of_experts: float = 1.0

    def active_parameters(self) -> int:
        """The number of parameters that a token is multiplied with: its own experts and, of the tables, only the
        output."""
        passed = (
            math.prod(shape) * (self.share_of_experts if "experts" in name else 1)
            for name, shape, role in self.shapes.entries()
            if role != "embedding"
        )
        return round(sum(passed))


COSTED_MODELS = {
    "gpt2-small": CostedModel(SHAPE_SETS["gpt2-small"]),
    "llama-1b": CostedModel(SHAPE_SETS["llama-1b"]),
    "llama-8b": CostedModel(llama(32, 4096, 1024, 14336)),
    "llama-70b": CostedModel(llama(80, 8192, 1024, 28672)),
    "qwen3-30b-a3b": CostedModel(qwen3_mixture(48, 2048, 128, 768), 8 / 128),
}
