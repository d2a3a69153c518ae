"""The local parts of sharded weights, and what each of them needs from other ranks."""

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
    """The part that this rank holds of a sharded weight.

    Attributes:
        part: The local part.
        cut: How the whole weight is sharded.
        norm: The norm of the whole weight.
        of: Its group.
    """

    part: Part
    cut: Cut
    norm: Norm
    of: PartsOfGroup

    @property
    def stacked(self) -> int:
        """The number of leading dimensions that stack matrices."""
        return len(self.cut.shape) - (fewest_dimensions(self.norm) or len(self.cut.shape))

    @property
    def apart(self) -> tuple[int, ...]:
        """The mesh dimensions whose ranks hold different matrices of a stack (experts)."""
        return self.cut.cutting(range(self.stacked)) if self.cut.replica is None else ()

    @property
    def shared(self) -> tuple[int, ...]:
        """The mesh dimensions whose ranks share each matrix."""
        mesh = self.cut.mesh
        return tuple(dim for dim in range(mesh.ndim) if dim not in self.apart and mesh.size(dim) > 1)

    @property
    def pieces(self) -> tuple[int, ...]:
        """The dimensions of `shared` whose ranks hold different pieces of each matrix, and not replicas."""
        cutting = self.cut.cutting(range(len(self.cut.shape)))
        return tuple(dim for dim in self.shared if dim in cutting)

    @property
    def vector_dims(self) -> tuple[int, ...] | None:
        """The dimensions (not negative) of the weight along which the norm sees vectors; None for matrix norms."""
        dims = getattr(self.norm, "vector_dims", None)
        return None if dims is None else tuple(dim % len(self.cut.shape) for dim in dims)

    @property
    def is_alone(self) -> bool:
        """Whether the local part of the update needs nothing from other ranks."""
        dims = self.vector_dims
        if dims is None:
            return not self.shared
        # The size of an entry under Sign depends on the length of a row.
        return not self.cut.cutting(dims or (len(self.cut.shape) - 1,))

    def entries(self) -> list[tuple[int, ...]]:
        """The indices of the matrices in the stack that the ranks sharing this weight hold."""
        here = self.cut.region_without(self.shared)
        return list(product(*(range(*bounds) for bounds in here[: self.stacked])))

    def one_unread(self) -> Tensor:
        """A tensor with the shape, dtype and device of one whole matrix, but without its memory."""
        return self.part.average.new_empty(()).expand(self.cut.shape[self.stacked :])


def cut_parts(groups: Iterable[PartsOfGroup]) -> list[CutPart]:
    """Return every part of the groups, all of which are sharded."""
    return [
        CutPart(part, part.cut, norm_for(of.group["norm"], len(part.cut.shape)), of)
        for of in groups
        for part in of.parts
        if part.cut is not None
    ]


def of_one_group(parts: Sequence[CutPart]) -> Iterator[list[CutPart]]:
    """Yield lists of parts, each of one group, dtype, device, gradient dtype and number of dimensions."""
    alike: dict[Any, list[CutPart]] = defaultdict(list)
    for one in parts:
        weight, gradient = one.part.weight, one.part.gradient
        alike[id(one.of), weight.dtype, weight.device, gradient.dtype, weight.ndim].append(one)
    yield from alike.values()
