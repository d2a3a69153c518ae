"""Two rivals of corrected weight decay, for comparisons: cautious decay, and a hard constraint on the norm.

`steadydecay.correct_weight_decay(optimizer, rule="cautious" | "hyperball")` attaches them to any optimizer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from steadydecay.correction.rules import CAUTIOUS
from steadydecay.groups.key_types import require_number
from steadydecay.groups.matrix_blocks import Block, blocks_of, matrix_shape
from steadydecay.groups.settings import may_move
from steadydecay.theory.validation import require_in

# Of one parameter: the norm that all of it is held at, one for each of its matrices, or none.
HeldNorm = float | list[float] | None


def cautious_decay(before: Tensor, after: Tensor, decay: float | Tensor) -> Tensor:
    """What a decay takes from the weights where it does not fight the update: η I(u ⊙ θ ≥ 0) ⊙ θ.

    Cautious Weight Decay, arXiv 2510.12402, Algorithm 1.

    Args:
        before: weights before a step without decay.
        after: weights after it; u ∝ before - after.
        decay: η = γλ ≥ 0.

    Returns:
        What to subtract from `after`, of its shape.

    >>> cautious_decay(torch.tensor([1.0, 1.0, -2.0]), torch.tensor([0.5, 1.5, -2.0]), 0.5).tolist()
    [0.5, 0.0, -1.0]
    """
    if before.is_complex():
        return torch.view_as_complex(cautious_decay(torch.view_as_real(before), torch.view_as_real(after), decay))
    return torch.where((before - after) * before >= 0, before * decay, 0)


def projection_factor(matrix: Tensor, norm: float) -> Tensor:
    """What scales a matrix to the Frobenius norm `norm`, 0-d; 1 for a zero matrix, which no factor can scale.

    The constraint of Hyperball (arXiv 2606.16899). Its second half, updates of a fixed norm, is the optimizer's affair.

    >>> projection_factor(torch.tensor([[3.0, 4.0]]), 10.0)
    tensor(2.)
    """
    now = frobenius_norm(matrix)
    return torch.where(now > 0, norm / now, 1)


def frobenius_norm(weight: Tensor) -> Tensor:
    """‖θ‖_F, 0-d, in float32 at least; of a complex weight too."""
    precision = torch.promote_types(weight.dtype, torch.complex64 if weight.is_complex() else torch.float32)
    return torch.linalg.vector_norm(weight, dtype=precision)


def held_matrices(group: Mapping[str, Any], position: int) -> list[Block]:
    """The matrices that a parameter of a group holds: each of a stack, and each that is fused with others.

    A vector, and a weight that is sharded or complex, counts as one, and so do three dimensions in a group without a
    role or a norm, which may be a stack of matrices or the kernel of a Conv1d.
    """
    weight, names = group["params"][position], group.get("param_names") or ()
    rows, columns = matrix_shape(group, tuple(weight.shape))
    is_ambiguous = weight.ndim == 3 and not {"role", "norm"} & group.keys()
    if is_ambiguous or weight.is_complex() or isinstance(weight, DTensor):
        return [Block((0, rows), (0, columns))]
    name = names[position] if len(names) == len(group["params"]) else ""
    return blocks_of(group, tuple(weight.shape), name) or [Block((0, rows), (0, columns))]


def projected(weight: Tensor, shape: tuple[int, int], blocks: Sequence[Block], norms: Sequence[float]) -> Tensor:
    """A copy of the weight with each of its matrices at a Frobenius norm.

    Args:
        weight: any shape.
        shape: (rows, columns) of it as one matrix.
        blocks: where its matrices are in that.
        norms: of each of them.
    """
    if len(blocks) == 1:
        return weight * projection_factor(weight, norms[0]).to(weight.dtype)
    whole = weight.reshape(shape).clone()
    for block, norm in zip(blocks, norms, strict=True):
        matrix = whole[slice(*block.rows), slice(*block.columns)]
        matrix.mul_(projection_factor(matrix, norm).to(matrix.dtype))
    return whole.view(weight.shape)


def norms_to_hold(group: Mapping[str, Any], name: str) -> list[HeldNorm]:
    """The norm that each parameter of a group is to hold: as its `hyperball_norms` says, else its own.

    A list where it holds several matrices, one for each; None for vectors, which are left free.

    Raises:
        ValueError: norms that are no list or no numbers, as many as there are not parameters or matrices, or one that
            is not positive: a zero weight held at its norm would never move.
    """
    count, given = len(group["params"]), group.get("hyperball_norms")
    if given is not None and not isinstance(given, list | tuple):
        raise ValueError(f"hyperball_norms of {name} is {given!r}; legal is a list with one entry a tensor, or None")
    if given is not None and len(given) != count:
        raise ValueError(f"hyperball_norms of {name} has {len(given)} entries; legal is {count}, one a tensor")
    norms = [_own_norm(group, at) if given is None else _given_norm(group, at, given[at], name) for at in range(count)]
    for norm in (one for held in norms for one in (held if isinstance(held, list) else [held])):
        if norm is not None:
            remedy = "a weight that starts at zero needs hyperball_norms in its group, or a group that where leaves out"
            require_in(f"a norm of hyperball_norms of {name}", norm, 0, remedy=remedy)
    return norms


def remembered_weights(groups: Iterable[Mapping[str, Any]]) -> dict[Tensor, Tensor]:
    """Copies of the weights of every group with cautious decay, to be compared after the step."""
    cautious = (group for group in groups if group.get("decay_replacement") == CAUTIOUS)
    return {parameter: parameter.detach().clone() for group in cautious for parameter in group["params"]}


@torch.no_grad()
def be_cautious(
    group: Mapping[str, Any],
    remembered: Mapping[Tensor, Tensor],
    weight_decay: float | Tensor,
    found_inf: Tensor | None,
) -> None:
    """After a step without decay: take η from the weights where that does not fight the step.

    lr = 0, a step that a GradScaler has cancelled (`found_inf`), and no gradient leave them as they are, bitwise.

    Args:
        group: its weights are written to.
        remembered: the weights before the step.
        weight_decay: λ of this step.
        found_inf: of the GradScaler; not 0 where it has cancelled the step.
    """
    lr = group["lr"]
    for parameter in _moved_parameters(group):
        if parameter in remembered:
            decayed = parameter - cautious_decay(remembered[parameter], parameter, lr * weight_decay)
            parameter.copy_(_where_the_step_counts(decayed, parameter, lr, found_inf))


@torch.no_grad()
def hold_norms(group: Mapping[str, Any], found_inf: Tensor | None) -> None:
    """After a step: project every matrix with an entry in the group's `hyperball_norms` to it; as `be_cautious`."""
    moved = set(map(id, _moved_parameters(group)))
    for position, (parameter, norm) in enumerate(zip(group["params"], group["hyperball_norms"], strict=True)):
        if norm is not None and id(parameter) in moved:
            shape = matrix_shape(group, tuple(parameter.shape))
            # One number holds all of a weight, whatever is in it.
            blocks = held_matrices(group, position) if isinstance(norm, list) else [Block((0, shape[0]), (0, shape[1]))]
            held = projected(parameter, shape, blocks, norm if isinstance(norm, list) else [norm])
            parameter.copy_(_where_the_step_counts(held, parameter, group["lr"], found_inf))


def _moved_parameters(group: Mapping[str, Any]) -> list[Tensor]:
    return [parameter for parameter in group["params"] if parameter.grad is not None] if may_move(group["lr"]) else []


def _own_norm(group: Mapping[str, Any], position: int) -> HeldNorm:
    weight = group["params"][position].detach()
    if weight.ndim < 2:
        return None
    blocks = held_matrices(group, position)
    if len(blocks) == 1:
        return float(frobenius_norm(weight))
    whole = weight.reshape(matrix_shape(group, tuple(weight.shape)))
    return [float(frobenius_norm(whole[slice(*block.rows), slice(*block.columns)])) for block in blocks]


def _given_norm(group: Mapping[str, Any], position: int, given: Any, name: str) -> HeldNorm:
    if given is None:
        return None
    for norm in given if isinstance(given, list | tuple) else (given,):
        require_number(f"a norm of hyperball_norms of {name}", norm)
    if not isinstance(given, list | tuple):
        return float(given)
    count = len(held_matrices(group, position))
    if len(given) != count:
        raise ValueError(f"hyperball_norms of {name} has a list of {len(given)}; legal is {count}, one for each matrix")
    return list(map(float, given))


def _where_the_step_counts(changed: Tensor, unchanged: Tensor, lr: float | Tensor, found_inf: Tensor | None) -> Tensor:
    """By tensors, so that the device is not waited for."""
    if isinstance(lr, Tensor):
        changed = torch.where((lr != 0).to(changed.device, non_blocking=True), changed, unchanged)
    if found_inf is not None:
        changed = torch.where((found_inf == 0).to(changed.device, non_blocking=True), changed, unchanged)
    return changed
