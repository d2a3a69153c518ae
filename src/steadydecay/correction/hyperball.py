"""A hard constraint on the norm, a rival of corrected weight decay: each matrix is projected to its initial norm.

`steadydecay.correct_weight_decay(optimizer, rule="hyperball")` attaches it to any optimizer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steadydecay.correction.counted_steps import flag_of, parameters_to_change, where_the_step_counts
from steadydecay.groups.block_parts import BlockPart, block_parts
from steadydecay.groups.key_types import require_number
from steadydecay.groups.matrix_blocks import Block, blocks_of, matrix_shape
from steadydecay.parallel.shards import PartialSum, local_part, sharding_of, sum_over_ranks
from steadydecay.theory.validation import require_in

# The norm at which a parameter is held, one for each of its matrices, or none.
HeldNorm = float | list[float] | None


class HeldParameter(NamedTuple):
    """A parameter whose norm is held.

    Attributes:
        parameter: The weight.
        group: Its group.
        blocks: Its matrices that are held.
        norms: The norm of each of them.
    """

    parameter: Tensor
    group: Mapping[str, Any]
    blocks: list[Block]
    norms: list[float]


def projection_factor(norm: Tensor, wanted: float | Tensor) -> Tensor:
    """Return the factor that scales matrices of Frobenius norm `norm` to the wanted norm; 1 for zero matrices.

    This is the constraint of Hyperball (arXiv 2606.16899). Its second half, updates of a fixed norm, is left to the
    optimizer.

    >>> projection_factor(torch.tensor([5.0, 0.0]), 10.0)
    tensor([2., 1.])
    """
    return torch.where(norm > 0, wanted / norm, 1)


def frobenius_norm(weight: Tensor) -> Tensor:
    """Return ‖θ‖_F as a 0-d tensor in float32 at least; the weight may be complex."""
    precision = torch.promote_types(weight.dtype, torch.complex64 if weight.is_complex() else torch.float32)
    return torch.linalg.vector_norm(weight, dtype=precision)


def held_matrices(group: Mapping[str, Any], position: int) -> list[Block]:
    """Return the matrices that a parameter of a group holds: each of a stack, and each that is fused with others.

    A vector and a complex weight count as one. So do three dimensions in a group without a role or a norm, because they
    may be a stack of matrices or the kernel of a Conv1d.
    """
    weight, names = group["params"][position], group.get("param_names") or ()
    is_ambiguous = weight.ndim == 3 and not {"role", "norm"} & group.keys()
    if is_ambiguous or weight.is_complex():
        return [_all_of(group, weight)]
    name = names[position] if len(names) == len(group["params"]) else ""
    return blocks_of(group, tuple(weight.shape), name) or [_all_of(group, weight)]


def projected(matrix: Tensor, parts: Sequence[BlockPart], factors: Sequence[Tensor]) -> Tensor:
    """Return a copy of a parameter's local part as one matrix, with each of these parts multiplied by its factor."""
    if len(parts) == 1 and parts[0].of(matrix).shape == matrix.shape:
        return matrix * factors[0].to(matrix.dtype)
    scaled = matrix.clone()
    for part, factor in zip(parts, factors, strict=True):
        part.of(scaled).mul_(factor.to(matrix.dtype))
    return scaled


def norms_to_hold(group: Mapping[str, Any], name: str) -> list[HeldNorm]:
    """Return the norm at which each parameter of a group is held: as its `hyperball_norms` says, or else its own norm.

    A parameter that holds several matrices has a list with one norm for each. Vectors have None and are left free. The
    norm of a sharded parameter is that of the whole, which takes one exchange between the ranks.

    Raises:
        ValueError: The norms are not a list of numbers, there are not as many as parameters or matrices, or one is not
            positive, because a zero weight held at its norm would never move.
    """
    count, given = len(group["params"]), group.get("hyperball_norms")
    if given is not None and not isinstance(given, list | tuple):
        raise ValueError(
            f"hyperball_norms of {name} is {given!r}; it must be None or a list with one entry for each parameter"
        )
    if given is not None and len(given) != count:
        raise ValueError(
            f"hyperball_norms of {name} has {len(given)} entries; it must have {count}, one for each parameter"
        )
    norms = _own_norms(group) if given is None else [_given_norm(group, at, given[at], name) for at in range(count)]
    for norm in (one for held in norms for one in (held if isinstance(held, list) else [held])):
        if norm is not None:
            remedy = "for a weight that starts at zero, set hyperball_norms in its group or exclude the group by where"
            require_in(f"a norm of hyperball_norms of {name}", norm, 0, remedy=remedy)
    return norms


@torch.no_grad()
def hold_norms(groups: Iterable[Mapping[str, Any]], found_inf: Tensor | None) -> None:
    """After a step, project every matrix with an entry in its group's `hyperball_norms` to that norm.

    Weights stay as they are, bit for bit, at lr = 0, without a gradient, and in a step that a GradScaler has skipped.
    Sharded parameters hold the norm of the whole and take one collective for each process group.

    Args:
        groups: The groups, whose weights are written to.
        found_inf: The flag of the GradScaler, which is not 0 if it has skipped the step.
    """
    held = [one for group in groups for one in _held_parameters(group)]
    flags = [None if sharding_of(one.parameter) is None else flag_of(one.parameter) for one in held]
    norms = _norms_now(held, flags)
    for one, now, flag in zip(held, norms, flags, strict=True):
        here = local_part(one.parameter)
        wanted = (projection_factor(norm, of_block) for norm, of_block in zip(now, one.norms, strict=True))
        changed = projected(_as_matrix(one, here), _parts_here(one), list(wanted)).view(here.shape)
        is_moved = None if flag is None else flag[0] > 0
        here.copy_(where_the_step_counts(changed, here, one.group["lr"], found_inf, is_moved))


def _held_parameters(group: Mapping[str, Any]) -> list[HeldParameter]:
    changing, held = set(map(id, parameters_to_change(group))), []
    for position, (parameter, norms) in enumerate(zip(group["params"], group["hyperball_norms"], strict=True)):
        if norms is None or id(parameter) not in changing:
            continue
        # A single number is the norm of the whole weight, whatever it contains.
        is_each = isinstance(norms, list)
        blocks = held_matrices(group, position) if is_each else [_all_of(group, parameter)]
        held.append(HeldParameter(parameter, group, blocks, norms if is_each else [norms]))
    return held


def _norms_now(held: Sequence[HeldParameter], flags: Sequence[Tensor | None]) -> list[list[Tensor]]:
    """Return the 0-d Frobenius norms of each one's matrices. Flags of sharded ones are summed over ranks on the way."""
    found: list[list[Tensor]] = []
    squares: list[Tensor | None] = []
    partial: list[PartialSum] = []
    for one, flag in zip(held, flags, strict=True):
        sharding = sharding_of(one.parameter)
        found.append(_norms_here(one))
        square = None if sharding is None else torch.stack(found[-1]).double().square_()
        squares.append(square)
        if sharding is not None and square is not None:
            partial.append((sharding.groups(), [square] if flag is None else [square, flag]))
    sum_over_ranks(partial)
    together = zip(found, squares, strict=True)
    return [norms if square is None else list(square.sqrt().unbind()) for norms, square in together]


def _norms_here(one: HeldParameter) -> list[Tensor]:
    matrix = _as_matrix(one, local_part(one.parameter))
    return [frobenius_norm(part.of(matrix)) for part in _parts_here(one)]


def _as_matrix(one: HeldParameter, here: Tensor) -> Tensor:
    return here.reshape(_local_shape(one, here))


def _local_shape(one: HeldParameter, here: Tensor) -> tuple[int, int]:
    return matrix_shape(one.group, tuple(here.shape)) if here.ndim > 1 else (1, here.numel())


def _parts_here(one: HeldParameter) -> list[BlockPart]:
    shape = tuple(one.parameter.shape)
    if len(shape) < 2:
        everything = slice(None)
        return [BlockPart(everything, everything, (), (), (1, one.parameter.numel()))]
    return block_parts(one.group, shape, one.blocks, sharding_of(one.parameter))


def _all_of(group: Mapping[str, Any], parameter: Tensor) -> Block:
    rows, columns = matrix_shape(group, tuple(parameter.shape))
    return Block((0, rows), (0, columns))


@torch.no_grad()
def _own_norms(group: Mapping[str, Any]) -> list[HeldNorm]:
    positions = [position for position, parameter in enumerate(group["params"]) if parameter.ndim > 1]
    held = [HeldParameter(group["params"][at], group, held_matrices(group, at), []) for at in positions]
    found: list[HeldNorm] = [None] * len(group["params"])
    for position, norms in zip(positions, _norms_now(held, [None] * len(held)), strict=True):
        own = list(map(float, norms))
        found[position] = own if len(own) > 1 else own[0]
    return found


def _given_norm(group: Mapping[str, Any], position: int, given: Any, name: str) -> HeldNorm:
    if given is None:
        return None
    for norm in given if isinstance(given, list | tuple) else (given,):
        require_number(f"a norm of hyperball_norms of {name}", norm)
    if not isinstance(given, list | tuple):
        return float(given)
    count = len(held_matrices(group, position))
    if len(given) != count:
        raise ValueError(
            f"hyperball_norms of {name} has a list of {len(given)}; it must have {count} numbers, one for each matrix"
        )
    return list(map(float, given))
