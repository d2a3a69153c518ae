"""θ ← (1-η) θ - γ u for many weights at once."""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

import torch
from torch import Tensor

from steadydecay.low_precision import move_

Number = float | Tensor


def batches_of(parameters: list[Tensor], foreach: bool | None) -> list[list[Tensor]]:
    """All in one list for foreach, else lists of one, which need temporaries for one tensor at a time.

    Args:
        parameters: of one group.
        foreach: None is True where a parameter is on a GPU.
    """
    if foreach is None:
        foreach = any(parameter.is_cuda for parameter in parameters)
    return [parameters] if foreach and parameters else [[parameter] for parameter in parameters]


def scaled_update(update: Tensor, lr: Number) -> Tensor:
    """γu; zero at a tensor lr of zero even where u is not finite, without a branch on its value."""
    return (update * lr).where(lr != 0, 0) if isinstance(lr, Tensor) else update * lr


def move(
    parameters: list[Tensor], updates: list[Tensor], lr: Number, decay: Number, compensations: list[Tensor | None]
) -> None:
    """θ ← (1-η)θ - γu in place; lr = 0 is bitwise identity, whatever the updates, which are not written to.

    A parameter with a compensation is moved as in `steadydecay.low_precision`.
    """
    if not isinstance(lr, Tensor) and lr == 0:
        return
    plain: list[tuple[Tensor, Tensor]] = []
    for parameter, update, compensation in zip(parameters, updates, compensations, strict=True):
        if compensation is None:
            plain.append((parameter, update))
        else:
            move_(parameter, scaled_update(update.float(), lr), decay, compensation)
    if plain:
        _move_all([parameter for parameter, _ in plain], [update for _, update in plain], lr, decay)


def _move_all(parameters: list[Tensor], updates: list[Tensor], lr: Number, decay: Number) -> None:
    torch._foreach_mul_(parameters, 1 - decay)
    if isinstance(lr, Tensor):
        torch._foreach_sub_(parameters, [scaled_update(update, lr) for update in updates])
    else:
        torch._foreach_add_(parameters, updates, alpha=-lr)
