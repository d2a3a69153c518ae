"""VERB: let an optimizer leave out gradients that hold a NaN or an infinity, and count them."""

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

# What is left out where one gradient is not finite: that tensor alone, or the whole step.
Skip = Literal["tensor", "step"]
# In place of a name.
ELSEWHERE = "on another rank"
# Entries of gradients whose norms are taken together; a copy of so few costs less than a call for each.
LARGEST_TOGETHER = 2**12


class NonfiniteGradient(NamedTuple):
    """Where a gradient was not finite.

    Attributes:
        step: counted from 1 since the optimizer is watched over.
        name: of the weight; "on another rank" where that rank alone has it, and all skip the step.
    """

    step: int
    name: str


def skip_nonfinite(optimizer: Optimizer, skip: Skip = "tensor") -> "NonfiniteSkip":
    """Before each step, take away gradients that hold a NaN or an infinity: the optimizer then leaves the weight alone.

    Weight, momentum and decay of what is skipped stay as they are, bit for bit. One pass over the gradients and one
    look at the device a step; with DTensors one small collective for each dimension of their mesh, so that every rank
    skips the same and says so. Gradients of plain weights are looked at on each rank alone: under
    `DistributedDataParallel` they are the same on all.

    Args:
        optimizer: any torch optimizer that leaves weights without a gradient alone, as all of torch and of this
            package do. Where Scion's `memory_light` keeps the average in `.grad`, a skipped weight loses it.
        skip: "tensor" leaves out each weight whose gradient is not finite, "step" then leaves out all weights.

    Returns:
        A handle that counts: `skipped` by weight, `skipped_steps`, the `first`. Its `remove()` takes it off; also a
        context manager. A warning names the first weight and step.

    Raises:
        TypeError: not an optimizer.
        ValueError: another `skip`, or "step" with `memory_light`, whose averages have taken the gradients in by then.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}; legal is a torch.optim.Optimizer")
    if skip not in get_args(Skip):
        raise ValueError(f"skip is {skip!r}; legal are {', '.join(map(repr, get_args(Skip)))}")
    optimizer = unwrapped(optimizer)
    if skip == "step" and any(group.get("memory_light") for group in optimizer.param_groups):
        raise ValueError("skip='step' and memory_light=True, whose averages have taken the gradients in: use 'tensor'")
    return NonfiniteSkip(optimizer, skip)


@final
class NonfiniteSkip:
    """What `skip_nonfinite` returns: it lives as a hook of the optimizer's step until `remove`.

    Attributes:
        skipped: of each weight that was skipped because of its own gradient, in how many steps.
        skipped_steps: in how many steps something was skipped.
        first: the first gradient that was not finite; None before.
    """

    def __init__(self, optimizer: Optimizer, skip: Skip) -> None:
        self._optimizer, self._skip, self._steps = optimizer, skip, 0
        self.skipped: dict[str, int] = {}
        self.skipped_steps = 0
        self.first: NonfiniteGradient | None = None
        # Outside the graph of a compiled step, because it branches on values.
        before: Any = torch.compiler.disable(self._before_step)
        self._hook = optimizer.register_step_pre_hook(before)
        # The first of all: others look at which weights have a gradient.
        hooks: Any = optimizer._optimizer_step_pre_hooks
        hooks.move_to_end(self._hook.id, last=False)

    def remove(self) -> None:
        """Take the hook off; the counts stay. May be called again."""
        self._hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """The counts, as plain values."""
        first = None if self.first is None else tuple(self.first)
        return {
            "steps": self._steps,
            "skipped_steps": self.skipped_steps,
            "skipped": dict(self.skipped),
            "first": first,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from what `state_dict` gave."""
        self._steps, self.skipped_steps, self.skipped = state["steps"], state["skipped_steps"], dict(state["skipped"])
        self.first = None if state["first"] is None else NonfiniteGradient(*state["first"])

    def _before_step(self, optimizer: Optimizer, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        self._steps += 1
        # The first argument is the optimizer itself. A closure makes the gradients within the step.
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
            # A rank without a gradient of a DTensor must not let those that have one wait.
            if parameter.grad is not None or isinstance(parameter, DTensor)
        ]
        weights = [parameter for _, parameter in named]
        is_finite = are_finite([parameter.grad for parameter in weights], weights)
        bad = [pair for pair, finite in zip(named, is_finite, strict=True) if not finite]
        is_elsewhere = self._skip == "step" and _is_anywhere(bool(bad), weights) and not bad
        if bad or is_elsewhere:
            self._leave_out(bad, weights)

    def _leave_out(self, bad: Sequence[tuple[str, Tensor]], weights: Sequence[Tensor]) -> None:
        """Take the gradients away and count them; none is bad where a rank beside this one has one in this step."""
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
                f"{whose} holds a NaN or an infinity at step {self._steps}; {what} skipped. The handle counts what "
                f"follows without a word",
                stacklevel=3,
            )


def are_finite(gradients: Sequence[Tensor | None], weights: Sequence[Tensor] | None = None) -> list[bool]:
    """Whether each holds finite numbers alone; of a DTensor, on all ranks of its mesh. Waits for each device once.

    Args:
        gradients: None of a weight that has none, whose finite numbers are those of the other ranks.
        weights: of each gradient; by default the gradients themselves.

    >>> are_finite([torch.tensor([1.0, torch.nan]), torch.tensor([3e38]), torch.tensor([torch.inf]), torch.empty(0)])
    [False, True, False, True]
    """
    owners = [one for one in gradients if one is not None] if weights is None else list(weights)
    here = [_here(gradient, owner) for gradient, owner in zip(gradients, owners, strict=True)]
    # A finite norm says that all is finite, in one pass without a temporary.
    has_norm = _agreed(_nonfinite_norms(here, owners), owners)
    doubtful = [at for at, is_finite in enumerate(has_norm) if not is_finite]
    if not doubtful:
        return has_norm
    found = {at: (~here[at].isfinite().all()).float().reshape(1) for at in doubtful}
    surely = dict(zip(doubtful, _agreed(list(found.values()), [owners[at] for at in doubtful]), strict=True))
    return [is_finite or surely[at] for at, is_finite in enumerate(has_norm)]


def _here(gradient: Tensor | None, weight: Tensor) -> Tensor:
    """What is here of a gradient, as real numbers; of a sparse one those that it holds."""
    if gradient is None:
        return torch.zeros(0, device=weight.device)
    # As it is: there may be thousands.
    if type(gradient) is Tensor and gradient.layout == torch.strided and not gradient.is_complex():
        return gradient
    if not isinstance(gradient, DTensor):
        gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
    here = local_part(gradient)
    return torch.view_as_real(here.resolve_conj()) if here.is_complex() else here


def _nonfinite_norms(here: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """For each a (1,): not 0 where the norm of it, or of small ones that are looked at together, is not finite."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for at, (values, weight) in enumerate(zip(here, weights, strict=True)):
        is_small = values.numel() <= LARGEST_TOGETHER and not isinstance(weight, DTensor)
        alike[values.device, values.dtype, is_small].append(at)
    flags: dict[int, Tensor] = {}
    for (_, _, is_small), places in alike.items():
        if is_small:
            # One norm for all: each alone would take longer than the step of so small a weight.
            (norm,) = _norms([torch.cat([here[at].reshape(-1) for at in places])])
            flags |= dict.fromkeys(places, (~norm.isfinite()).float().reshape(1))
        else:
            norms = torch.stack(_norms([here[at] for at in places]))
            flags |= dict(zip(places, (~norms.isfinite()).float().split(1), strict=True))
    return [flags[at] for at in range(len(here))]


def _agreed(flags: Sequence[Tensor], weights: Sequence[Tensor]) -> list[bool]:
    """Whether each flag (1,) is 0, on all ranks of the mesh of its weight: one collective for each process group."""
    pairs = zip(weights, flags, strict=True)
    sum_over_ranks((_groups(weight), [flag]) for weight, flag in pairs if isinstance(weight, DTensor))
    # Many small weights share one.
    of_device: dict[torch.device, dict[int, Tensor]] = defaultdict(dict)
    for flag in flags:
        of_device[flag.device][id(flag)] = flag
    is_zero: dict[int, bool] = {}
    for flags_there in of_device.values():
        is_zero |= zip(flags_there, (torch.cat(list(flags_there.values())) == 0).tolist(), strict=True)
    return [is_zero[id(flag)] for flag in flags]


def _is_anywhere(is_here: bool, weights: Sequence[Tensor]) -> bool:
    """Whether it is so on any rank of the meshes of the weights, the largest first, for plain ones have no mesh."""
    shared = {weight.device_mesh: weight for weight in weights if isinstance(weight, DTensor)}
    for mesh in sorted(shared, key=lambda one: -one.size()):
        flag = torch.full((1,), float(is_here), device=shared[mesh].device)
        sum_over_ranks([(_groups(shared[mesh]), [flag])])
        is_here = bool(flag)
    return is_here


def _groups(weight: Tensor) -> list[Any]:
    """Those along all dimensions of the mesh of a DTensor: ranks that hold the same must skip alike too."""
    mesh = weight.device_mesh if isinstance(weight, DTensor) else None
    if mesh is None or mesh.get_coordinate() is None:
        return []
    return [mesh.get_group(dimension) for dimension in range(mesh.ndim) if mesh.size(dimension) > 1]


def _norms(values: list[Tensor]) -> list[Tensor]:
    """In float32 at least: a norm in float16 overflows at once."""
    dtype = torch.promote_types(values[0].dtype, torch.float32)
    return [norm.float() for norm in torch._foreach_norm(values, dtype=dtype)]  # pyright: ignore[reportPrivateImportUsage]
