"""Make an optimizer skip gradients with NaN or infinity, and count them."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self, final, get_args

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from steadydecay.groups.weight_names import names_in_records
from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.parallel.shards import local_part, sum_over_ranks

# What is skipped if one gradient is not finite: that tensor alone, or the whole step.
Skip = Literal["tensor", "step"]
# Stands in for a name.
ELSEWHERE = "on another rank"
# The entries of gradients whose norms are computed together; copying so few costs less than a call for each.
LARGEST_TOGETHER = 2**12


class NonfiniteGradient(NamedTuple):
    """Where a gradient was not finite.

    Attributes:
        step: The step, counted from 1 since `skip_nonfinite` was called.
        name: The name of the weight, or "on another rank" if only that rank has it and all ranks skip the step.
    """

    step: int
    name: str


def skip_nonfinite(optimizer: Optimizer, skip: Skip = "tensor") -> "NonfiniteSkip":
    """Make an optimizer skip gradients that hold a NaN or an infinity, by removing them before each step.

    Weight, momentum and decay of whatever is skipped stay as they are, bit for bit. This takes one pass over the
    gradients and waits for the device once per step. With DTensors it takes one small collective for each dimension of
    their mesh, so that every rank skips and reports the same. Gradients of plain weights are checked on each rank
    alone; under `DistributedDataParallel` they are the same on all ranks.

    Args:
        optimizer: Any torch optimizer that leaves weights without a gradient alone, as all of torch and of this package
            do. If Scion's `memory_light` keeps the average in `.grad`, a skipped weight loses it.
        skip: "tensor" skips each weight whose gradient is not finite. "step" skips all weights if any gradient is not
            finite.

    Returns:
        A handle that counts, in `skipped` by weight, in `skipped_steps`, and in `first`. Its `remove()` detaches it,
        and it is also a context manager. A warning names the first weight and step.

    Raises:
        TypeError: `optimizer` is not an optimizer.
        ValueError: `skip` is unknown, or it is "step" with `memory_light`, whose averages already contain the
            gradients.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}; it must be a torch.optim.Optimizer")
    if skip not in get_args(Skip):
        raise ValueError(f"skip is {skip!r}; it must be one of {', '.join(map(repr, get_args(Skip)))}")
    optimizer = unwrapped(optimizer)
    if skip == "step" and any(group.get("memory_light") for group in optimizer.param_groups):
        raise ValueError(
            "skip is 'step'; it must be 'tensor' with memory_light=True, whose averages already contain the gradients"
        )
    return NonfiniteSkip(optimizer, skip)


@final
class NonfiniteSkip:
    """The handle that `skip_nonfinite` returns. It works through a hook of the optimizer's step until `remove`.

    Attributes:
        skipped: For each weight, the number of steps in which it was skipped because of its own gradient.
        skipped_steps: The number of steps in which something was skipped.
        first: The first gradient that was not finite, or None before there is one.
    """

    def __init__(self, optimizer: Optimizer, skip: Skip) -> None:
        self._optimizer, self._skip, self._steps = optimizer, skip, 0
        self.skipped: dict[str, int] = {}
        self.skipped_steps = 0
        self.first: NonfiniteGradient | None = None
        # The hook stays outside the graph of a compiled step, because it branches on values.
        before: Any = torch.compiler.disable(self._before_step)
        self._hook = optimizer.register_step_pre_hook(before)
        # It runs before all other hooks, because they check which weights have a gradient.
        hooks: Any = optimizer._optimizer_step_pre_hooks
        hooks.move_to_end(self._hook.id, last=False)

    def remove(self) -> None:
        """Detach the hook. The counts stay. It may be called again."""
        self._hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        first = None if self.first is None else tuple(self.first)
        return {
            "steps": self._steps,
            "skipped_steps": self.skipped_steps,
            "skipped": dict(self.skipped),
            "first": first,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting from what `state_dict` returned."""
        self._steps, self.skipped_steps, self.skipped = state["steps"], state["skipped_steps"], dict(state["skipped"])
        self.first = None if state["first"] is None else NonfiniteGradient(*state["first"])

    def _before_step(self, optimizer: Optimizer, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        self._steps += 1
        # The first argument is the optimizer itself. A closure computes the gradients within the step.
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._looking_after(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._looking_after(kwargs["closure"])}
        self._take_away()
        return None

    def _looking_after(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def closure_and_look() -> Any:
            loss = closure()
            self._take_away()
            return loss

        return closure_and_look

    @torch.no_grad()
    def _take_away(self) -> None:
        named = [
            (name, parameter)
            for index, group in enumerate(self._optimizer.param_groups)
            for name, parameter in zip(names_in_records(group, index), group["params"], strict=True)
            # A rank that lacks a DTensor's gradient must not keep ranks that have it waiting.
            if parameter.grad is not None or isinstance(parameter, DTensor)
        ]
        weights = [parameter for _, parameter in named]
        is_finite = are_finite([parameter.grad for parameter in weights], weights)
        bad = [pair for pair, finite in zip(named, is_finite, strict=True) if not finite]
        is_elsewhere = self._skip == "step" and _is_anywhere(bool(bad), weights) and not bad
        if bad or is_elsewhere:
            self._leave_out(bad, weights)

    def _leave_out(self, bad: Sequence[tuple[str, Tensor]], weights: Sequence[Tensor]) -> None:
        """Remove the gradients and count them. `bad` is empty if only another rank has a bad gradient in this step."""
        self.skipped_steps += 1
        for name, _ in bad:
            self.skipped[name] = self.skipped.get(name, 0) + 1
        for parameter in weights if self._skip == "step" else [parameter for _, parameter in bad]:
            parameter.grad = None
        if self.first is None:
            name = bad[0][0] if bad else ELSEWHERE
            self.first = NonfiniteGradient(self._steps, name)
            what = "the step is" if self._skip == "step" else f"it and {len(bad) - 1} others are"
            whose = f"the gradient of {name!r}" if bad else f"a gradient {ELSEWHERE}"
            warnings.warn(
                f"{whose} holds a NaN or an infinity at step {self._steps}; {what} skipped. The handle counts "
                f"further ones without a warning",
                stacklevel=3,
            )


def are_finite(gradients: Sequence[Tensor | None], weights: Sequence[Tensor] | None = None) -> list[bool]:
    """Return whether each gradient is finite; for a DTensor, on all ranks of its mesh. It waits for each device once.

    Args:
        gradients: The gradients. None stands for a weight that has none on this rank.
        weights: The weight of each gradient. The default is the gradients themselves.

    >>> are_finite([torch.tensor([1.0, torch.nan]), torch.tensor([3e38]), torch.tensor([torch.inf]), torch.empty(0)])
    [False, True, False, True]
    """
    owners = [one for one in gradients if one is not None] if weights is None else list(weights)
    here = [_here(gradient, owner) for gradient, owner in zip(gradients, owners, strict=True)]
    # A finite norm shows that all entries are finite, in one pass without a temporary.
    has_norm = _agreed(_nonfinite_norms(here, owners), owners)
    doubtful = [at for at, is_finite in enumerate(has_norm) if not is_finite]
    if not doubtful:
        return has_norm
    found = {at: (~here[at].isfinite().all()).float().reshape(1) for at in doubtful}
    surely = dict(zip(doubtful, _agreed(list(found.values()), [owners[at] for at in doubtful]), strict=True))
    return [is_finite or surely[at] for at, is_finite in enumerate(has_norm)]


def _here(gradient: Tensor | None, weight: Tensor) -> Tensor:
    """Return the local part of a gradient as real numbers; for a sparse one, the values that it holds."""
    if gradient is None:
        return torch.zeros(0, device=weight.device)
    # Return it as it is, because there may be thousands.
    if type(gradient) is Tensor and gradient.layout == torch.strided and not gradient.is_complex():
        return gradient
    if not isinstance(gradient, DTensor):
        gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
    here = local_part(gradient)
    return torch.view_as_real(here.resolve_conj()) if here.is_complex() else here


def _nonfinite_norms(here: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return a flag (1,) for each, not 0 if its norm, or that of the small ones in its batch, is not finite."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for at, (values, weight) in enumerate(zip(here, weights, strict=True)):
        is_small = values.numel() <= LARGEST_TOGETHER and not isinstance(weight, DTensor)
        alike[values.device, values.dtype, is_small].append(at)
    flags: dict[int, Tensor] = {}
    for (_, _, is_small), places in alike.items():
        if is_small:
            # Use one norm for all: computing each alone would take longer than the step of so small a weight.
            (norm,) = _norms([torch.cat([here[at].reshape(-1) for at in places])])
            flags |= dict.fromkeys(places, (~norm.isfinite()).float().reshape(1))
        else:
            norms = torch.stack(_norms([here[at] for at in places]))
            flags |= dict(zip(places, (~norms.isfinite()).float().split(1), strict=True))
    return [flags[at] for at in range(len(here))]


def _agreed(flags: Sequence[Tensor], weights: Sequence[Tensor]) -> list[bool]:
    """Return whether each flag (1,) is 0 on all ranks of its weight's mesh, with one collective per process group."""
    pairs = zip(weights, flags, strict=True)
    sum_over_ranks((_groups(weight), [flag]) for weight, flag in pairs if isinstance(weight, DTensor))
    # Many small weights share one flag.
    of_device: dict[torch.device, dict[int, Tensor]] = defaultdict(dict)
    for flag in flags:
        of_device[flag.device][id(flag)] = flag
    is_zero: dict[int, bool] = {}
    for flags_there in of_device.values():
        is_zero |= zip(flags_there, (torch.cat(list(flags_there.values())) == 0).tolist(), strict=True)
    return [is_zero[id(flag)] for flag in flags]


def _is_anywhere(is_here: bool, weights: Sequence[Tensor]) -> bool:
    """Return whether it holds on any rank of the meshes of the weights, the largest first; plain ones have no mesh."""
    shared = {weight.device_mesh: weight for weight in weights if isinstance(weight, DTensor)}
    for mesh in sorted(shared, key=lambda one: -one.size()):
        flag = torch.full((1,), float(is_here), device=shared[mesh].device)
        sum_over_ranks([(_groups(shared[mesh]), [flag])])
        is_here = bool(flag)
    return is_here


def _groups(weight: Tensor) -> list[Any]:
    """Return the groups along all mesh dimensions of a DTensor, because ranks with equal parts must skip alike too."""
    mesh = weight.device_mesh if isinstance(weight, DTensor) else None
    if mesh is None or mesh.get_coordinate() is None:
        return []
    return [mesh.get_group(dimension) for dimension in range(mesh.ndim) if mesh.size(dimension) > 1]


def _norms(values: list[Tensor]) -> list[Tensor]:
    """Return norms in float32 at least, because a norm in float16 overflows easily."""
    dtype = torch.promote_types(values[0].dtype, torch.float32)
    return [norm.float() for norm in torch._foreach_norm(values, dtype=dtype)]  # pyright: ignore[reportPrivateImportUsage]
