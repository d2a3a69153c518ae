"""What a norm is to an optimizer."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from steadydecay.theory.lmo_correlation import Lmo


class LmoBlock(NamedTuple):
    """Parts of an update that one law of correlation describes.

    Attributes:
        lmo: that law, as `steadydecay.theory.correlation` takes it.
        norm_sq: ‖lmo(g)‖_F², summed over these parts and the batch.
    """

    lmo: Lmo
    norm_sq: float


class LmoCost(NamedTuple):
    """Of one lmo.

    Attributes:
        multiplications: in products of matrices.
        workspace_bytes: of temporaries, its result included.
    """

    multiplications: int
    workspace_bytes: int


class Norm(Protocol):
    """A norm on weights with its linear minimisation oracle (arXiv 2502.07529; Table 1 of arXiv 2512.08217).

    Leading dimensions beyond those of one weight are a batch: each entry is a weight of its own.
    No method writes to an argument but `init_`. On a CPU `lmo` may be called in several threads at once.

    More members are optional. `fewest_dimensions` says how many dimensions one weight has; a weight with fewer has no
    such norm. `vector_dims` says that the lmo brings every vector along these (negative) dimensions to
    `vector_length(shape)`: () means every entry, (-1,) every row. Weights that are cut over ranks then exchange lengths
    only, and large ones may be stepped in pieces. The others are for speed: `lmo_of_each(gradients)` gives the lmo of
    several gradients of one shape, in their dtype or a lower one, `lmo_dtype(gradient)` says which one that is, and
    `lmo_cost(gradient)` what one of them costs.
    """

    def lmo(self, gradient: Tensor) -> Tensor:
        """The steepest direction u with ‖u‖ = 1 and ⟨u, gradient⟩ = dual_norm(gradient).

        Invariant to the scale of the gradient; a zero gradient gives zero. Shape and dtype of the gradient.
        """
        ...

    def norm(self, weight: Tensor) -> Tensor:
        """‖weight‖, of the batch's shape."""
        ...

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """max ⟨u, gradient⟩ over ‖u‖ ≤ 1, of the batch's shape."""
        ...

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Fill `weight` with a random direction of norm 1, in place, and return it; ValueError unless it is real."""
        ...

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        """What theory needs of the lmo of a gradient of this shape and full rank: its blocks of one kind each."""
        ...
