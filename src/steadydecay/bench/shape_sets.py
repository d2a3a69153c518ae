"""The parameters of known models on which optimizer steps are measured."""

from dataclasses import dataclass
from typing import NamedTuple, final

from steadydecay.groups.intrinsic_roles import Role


class Entry(NamedTuple):
    """One parameter."""

    name: str
    shape: tuple[int, ...]
    role: Role


@final
@dataclass(frozen=True)
class ShapeSet:
    """A model as equal blocks and the rest. Each matrix with an LMO of its own (query, key, value) is a parameter."""

    layers: int
    block: tuple[Entry, ...]
    rest: tuple[Entry, ...]

    def entries(self, layers: int | None = None) -> list[Entry]:
        """Return all parameters, with `layers` blocks instead of the model's if that is given."""
        blocks = [
            Entry(f"blocks.{index}.{name}", shape, role)
            for index in range(self.layers if layers is None else layers)
            for name, shape, role in self.block
        ]
        return [*self.rest, *blocks]


def matrices(**shapes: tuple[int, int]) -> tuple[Entry, ...]:
    return tuple(Entry(name, shape, "hidden") for name, shape in shapes.items())


def vectors(**sizes: int) -> tuple[Entry, ...]:
    return tuple(Entry(name, (size,), "vector") for name, size in sizes.items())


def transformer_block(width: int) -> tuple[Entry, ...]:
    """Return attention with as many keys as queries, and an MLP that is four times wider."""
    square = (width, width)
    return matrices(q=square, k=square, v=square, o=square, up=(4 * width, width), down=(width, 4 * width))


def norms_and_biases(width: int) -> tuple[Entry, ...]:
    """Return two layer norms, and a bias for each matrix of `transformer_block`."""
    norms = vectors(norm1_gain=width, norm1_bias=width, norm2_gain=width, norm2_bias=width)
    return norms + vectors(q_bias=width, k_bias=width, v_bias=width, o_bias=width, up_bias=4 * width, down_bias=width)


def gpt2(layers: int, width: int, vocabulary: int) -> ShapeSet:
    return ShapeSet(
        layers,
        transformer_block(width) + norms_and_biases(width),
        (
            Entry("tokens", (vocabulary, width), "output"),
            Entry("positions", (1024, width), "embedding"),
            *vectors(norm_gain=width, norm_bias=width),
        ),
    )


# A tied embedding is the output layer, as in `param_groups`.
SHAPE_SETS: dict[str, ShapeSet] = {
    "gpt-mini": ShapeSet(
        6,
        transformer_block(384) + vectors(norm1_gain=384, norm2_gain=384),
        (Entry("tokens", (512, 384), "output"), *vectors(norm_gain=384)),
    ),
    "gpt2-small": gpt2(12, 768, 50304),
    "gpt2-xl": gpt2(48, 1600, 50304),
    "vit-s16": ShapeSet(
        12,
        transformer_block(384) + norms_and_biases(384),
        (
            *matrices(patches=(384, 3 * 16 * 16)),
            Entry("positions", (197, 384), "embedding"),
            Entry("classes", (1000, 384), "output"),
            *vectors(patches_bias=384, class_token=384, norm_gain=384, norm_bias=384, classes_bias=1000),
        ),
    ),
    "llama-1b": ShapeSet(
        16,
        matrices(q=(2048, 2048), k=(512, 2048), v=(512, 2048), o=(2048, 2048))
        + matrices(gate=(8192, 2048), up=(8192, 2048), down=(2048, 8192))
        + vectors(norm1_gain=2048, norm2_gain=2048),
        (Entry("tokens", (128256, 2048), "output"), *vectors(norm_gain=2048)),
    ),
}
