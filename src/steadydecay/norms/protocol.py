"""The interface of a norm, as optimizers use it."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from steadydecay.theory.lmo_correlation import Lmo


class LmoBlock(NamedTuple):
    """Parts of an update that follow one law of correlation.

    Attributes:
        lmo: The law of correlation, as `steadydecay.theory.correlation` takes it.
        norm_sq: ‖lmo(g)‖_F², summed over these parts and over the batch.
    """

    lmo: Lmo
    norm_sq: float


class LmoCost(NamedTuple):
    """The cost of one LMO.

    Attributes:
        multiplications: The number of multiplications in its matrix products.
        workspace_bytes: The size of its temporaries, including its result, in bytes.
    """

    multiplications: int
    workspace_bytes: int


class Norm(Protocol):
    """A norm on weights with its linear minimisation oracle (arXiv 2502.07529; Table 1 of arXiv 2512.08217).

    Leading dimensions beyond those of one weight are a batch, in which each entry is a weight of its own. No method
    writes to its arguments, except `init_`. On a CPU, `lmo` may be called in several threads at once.

    The following members are optional. `fewest_dimensions` is the number of dimensions of one weight; a weight with
    fewer is refused with a ValueError. `vector_dims` says that the LMO brings every vector along these (negative)
    dimensions to the length `vector_length(shape)`: () stands for every entry, and (-1,) for every row. Weights that
    are sharded then exchange only lengths, and large weights may be stepped in pieces. The other members are for speed:
    `lmo_of_each(gradients)` computes the LMOs of several gradients of one shape, in their dtype or a lower one,
    `lmo_dtype(gradient)` is the dtype of its results, and `lmo_cost(gradient)` is the cost of one of them.
    """

    def lmo(self, gradient: Tensor) -> Tensor:
        """Return the steepest direction u, with ‖u‖ = 1 and ⟨u, gradient⟩ = dual_norm(gradient).

        It does not depend on the scale of the gradient, and a zero gradient gives zero. It has the shape and the dtype
        of the gradient.
        """
        ...

    def norm(self, weight: Tensor) -> Tensor:
        """Return ‖weight‖ for each weight of the batch."""
        ...

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Return max ⟨u, gradient⟩ over ‖u‖ ≤ 1 for each gradient of the batch."""
        ...

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Fill `weight` with a random direction of norm 1 in place and return it; raise ValueError if it is complex."""
        ...

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        """Return what the theory needs to know of the LMO of a full-rank gradient of this shape, as blocks of one kind
        each.
        """
        ...
