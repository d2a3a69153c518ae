"""Parts of weights that are cut over ranks, and what each needs of the others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.norms import fewest_dimensions, norm_for
from steadydecay.norms.protocol import Norm
from steadydecay.optim.batches.parts import Part, PartsOfGroup
from steadydecay.parallel.cuts import Cut


class CutPart(NamedTuple):
    """What this rank holds of a weight that is cut.

    Attributes:
        part: what is here.
        cut: of the whole weight.
        norm: of the whole weight.
        of: its group.
    """

    part: Part
    cut: Cut
    norm: Norm
    of: PartsOfGroup

    @property
    def stacked(self) -> int:
        """How many leading dimensions are a stack of matrices."""
        return len(self.cut.shape) - (fewest_dimensions(self.norm) or len(self.cut.shape))

    @property
    def apart(self) -> tuple[int, ...]:
        """Dimensions of the mesh whose ranks hold different matrices of a stack (experts), each its own."""
        return self.cut.cutting(range(self.stacked)) if self.cut.replica is None else ()

    @property
    def shared(self) -> tuple[int, ...]:
        """Dimensions of the mesh whose ranks share each matrix."""
        mesh = self.cut.mesh
        return tuple(dim for dim in range(mesh.ndim) if dim not in self.apart and mesh.size(dim) > 1)

    @property
    def pieces(self) -> tuple[int, ...]:
        """Those of `shared` whose ranks hold different pieces of each matrix; along the others they hold replicas."""
        cutting = self.cut.cutting(range(len(self.cut.shape)))
        return tuple(dim for dim in self.shared if dim in cutting)

    @property
    def vector_dims(self) -> tuple[int, ...] | None:
        """Dimensions of the weight along which the norm sees vectors, not negative; None for a norm of matrices."""
        dims = getattr(self.norm, "vector_dims", None)
        return None if dims is None else tuple(dim % len(self.cut.shape) for dim in dims)

    @property
    def is_alone(self) -> bool:
        """Whether the part of the update that is here needs nothing from other ranks."""
        dims = self.vector_dims
        if dims is None:
            return not self.shared
        # The size of an entry of Sign depends on the length of a row.
        return not self.cut.cutting(dims or (len(self.cut.shape) - 1,))

    def entries(self) -> list[tuple[int, ...]]:
        """Each matrix of the stack that the ranks hold that share this weight."""
        here = self.cut.region_without(self.shared)
        return list(product(*(range(*bounds) for bounds in here[: self.stacked])))

    def one_unread(self) -> Tensor:
        """A tensor of the shape, dtype and device of one whole matrix, without its memory."""
        return self.part.average.new_empty(()).expand(self.cut.shape[self.stacked :])


def cut_parts(groups: Iterable[PartsOfGroup]) -> list[CutPart]:
    """Every part of the groups, which are all cut."""
    return [
        CutPart(part, part.cut, norm_for(of.group["norm"], len(part.cut.shape)), of)
        for of in groups
        for part in of.parts
        if part.cut is not None
    ]


def of_one_group(parts: Sequence[CutPart]) -> Iterator[list[CutPart]]:
    """Lists of one group, dtype, device, dtype of gradients and number of dimensions each."""
    alike: dict[Any, list[CutPart]] = defaultdict(list)
    for one in parts:
        weight, gradient = one.part.weight, one.part.gradient
        alike[id(one.of), weight.dtype, weight.device, gradient.dtype, weight.ndim].append(one)
    yield from alike.values()
