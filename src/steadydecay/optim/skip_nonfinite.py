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

# What is left out where one gradient is not finite: that tensor alone, or the whole step.
Skip = Literal["tensor", "step"]
# Entries of gradients whose norms are taken together; a copy of so few costs less than a call for each.
LARGEST_TOGETHER = 2**12


class NonfiniteGradient(NamedTuple):
    """Where a gradient was not finite.

    Attributes:
        step: counted from 1 since the optimizer is watched over.
        name: of the weight.
    """

    step: int
    name: str


def skip_nonfinite(optimizer: Optimizer, skip: Skip = "tensor") -> "NonfiniteSkip":
    """Before each step, take away gradients that hold a NaN or an infinity: the optimizer then leaves the weight alone.

    Weight, momentum and decay of what is skipped stay as they are, bit for bit. One pass over the gradients and one
    look at the device a step; with DTensors one small collective, so that every rank skips the same.

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
            if parameter.grad is not None
        ]
        is_finite = are_finite([parameter.grad for _, parameter in named])
        bad = [pair for pair, finite in zip(named, is_finite, strict=True) if not finite]
        if not bad:
            return
        self.skipped_steps += 1
        for name, _ in bad:
            self.skipped[name] = self.skipped.get(name, 0) + 1
        for _, parameter in named if self._skip == "step" else bad:
            parameter.grad = None
        if self.first is None:
            self.first = NonfiniteGradient(self._steps, bad[0][0])
            what = "the step is" if self._skip == "step" else f"it and {len(bad) - 1} others are"
            warnings.warn(
                f"the gradient of {bad[0][0]!r} holds a NaN or an infinity at step {self._steps}; {what} skipped. The "
                f"handle counts what follows without a word",
                stacklevel=2,
            )


def are_finite(gradients: Sequence[Tensor]) -> list[bool]:
    """Whether each holds finite numbers alone; of a sharded one, on all ranks. Waits for each device once.

    >>> are_finite([torch.tensor([1.0, torch.nan]), torch.tensor([3e38]), torch.tensor([torch.inf]), torch.empty(0)])
    [False, True, False, True]
    """
    # A finite norm says that all is finite, in one pass without a temporary.
    has_norm = _are_norms_finite(gradients)
    return [is_finite or _is_finite(gradient) for is_finite, gradient in zip(has_norm, gradients, strict=True)]


def _are_norms_finite(gradients: Sequence[Tensor]) -> list[bool]:
    alike: dict[Any, list[int]] = defaultdict(list)
    for at, gradient in enumerate(gradients):
        is_small = gradient.layout == torch.strided and gradient.numel() <= LARGEST_TOGETHER
        alike[gradient.device, gradient.dtype, isinstance(gradient, DTensor), is_small].append(at)
    norms: dict[torch.device, list[tuple[list[int], Tensor]]] = defaultdict(list)
    for (device, _, is_sharded, is_small), places in alike.items():
        values = [_values(gradients[at]) for at in places]
        if is_sharded:
            norms[device] += [([at], _whole_norm(value)) for at, value in zip(places, values, strict=True)]
        elif is_small:
            # One norm for all: each alone would take longer than the step of so small a weight.
            norms[device].append((places, _norms([torch.cat([value.reshape(-1) for value in values])])[0]))
        else:
            norms[device] += [([at], norm) for at, norm in zip(places, _norms(values), strict=True)]
    results = [False] * len(gradients)
    for of_device in norms.values():
        finite = torch.stack([norm for _, norm in of_device]).isfinite().tolist()
        for (places, _), is_finite in zip(of_device, finite, strict=True):
            for at in places:
                results[at] = is_finite
    return results


def _norms(values: list[Tensor]) -> list[Tensor]:
    """In float32 at least: a norm in float16 overflows at once."""
    dtype = torch.promote_types(values[0].dtype, torch.float32)
    return [norm.float() for norm in torch._foreach_norm(values, dtype=dtype)]  # pyright: ignore[reportPrivateImportUsage]


def _whole_norm(value: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(value, dtype=torch.promote_types(value.dtype, torch.float32))
    return (norm.full_tensor() if isinstance(norm, DTensor) else norm).float()


def _is_finite(gradient: Tensor) -> bool:
    finite = _values(gradient).isfinite().all()
    return bool(finite.full_tensor() if isinstance(finite, DTensor) else finite)


def _values(gradient: Tensor) -> Tensor:
    """Its entries as real numbers; of a sparse one those that it holds."""
    gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
    return torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
