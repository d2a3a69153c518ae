"""How large a model may be that a configuration asks for: a few bytes can ask for years of work."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

# The most that a whole number may be, by a part of its name; the first that fits counts. Layers and labels are made one
# by one, often while the configuration itself is read. Of a base of angles ("theta") and of a seed nothing is made.
# DeepNet, the deepest Transformer that was published, has 1000 layers.
MOST_OF = {"theta": 2**64, "seed": 2**64, "layer": 2000, "depth": 2000, "label": 10**6, "": 10**8}
# Switch Transformer's 2048 experts in each of 15 layers are 61440.
MOST_TENSORS = 10**5


def require_bounded(fields: Mapping[str, Any]) -> None:
    """Errors name the field.

    Raises:
        ValueError: a whole number in the fields, at any depth, that is larger than any model of today has.
    """
    for name, number in _whole_numbers(fields):
        most = next(most for part, most in MOST_OF.items() if part in name.lower())
        if abs(number) > most:
            shown = number if abs(number) < 10**18 else f"a number of {len(hex(number)) - 2} hexadecimal digits"
            raise ValueError(f"{name} is {shown}; legal are at most {most}")


@contextmanager
def bounded_tensors() -> Iterator[None]:
    """Within it, modules are made of at most `MOST_TENSORS` parameters in all.

    Raises:
        ValueError: there are more.
    """
    made = 0

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal made
        made += 1
        if made > MOST_TENSORS:
            raise ValueError(f"it has more than {MOST_TENSORS} weight tensors; legal are at most so many")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _whole_numbers(fields: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    # No recursion: a configuration may be nested as deep as its reader goes.
    waiting: list[tuple[str, Any]] = list(fields.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((name, one) for one in value)
        elif isinstance(value, int):
            yield name, value
