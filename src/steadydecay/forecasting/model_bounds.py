"""Limit the size of a model that a configuration asks for: a few bytes could ask for years of work."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

# The largest legal whole number, by a part of its name; the first match counts. Layers and labels are made one by one,
# often while the configuration itself is read. A base of angles ("theta") and a seed create nothing. The deepest
# published Transformer, DeepNet, has 1000 layers.
MOST_OF = {"theta": 2**64, "seed": 2**64, "layer": 2000, "depth": 2000, "label": 10**6, "": 10**8}
# transformers' names of the sizes that every model has, whatever a configuration calls them.
FROM_ONE = ("num_hidden_layers", "num_layers", "hidden_size", "hidden_sizes", "num_attention_heads", "vocab_size")
FROM_ONE += ("depths", "embed_dim", "encoder_layers", "decoder_layers", "num_decoder_layers", "intermediate_size")
FROM_ONE += ("num_heads",)
# Switch Transformer has 2048 experts in each of 15 layers, which makes 61440.
MOST_TENSORS = 10**5


def require_bounded(fields: Mapping[str, Any]) -> None:
    """Check the whole numbers in the fields. Errors name the field.

    Raises:
        ValueError: A whole number in the fields, at any depth, is larger than in any model today.
    """
    for name, number in _whole_numbers(fields):
        most = next(most for part, most in MOST_OF.items() if part in name.lower())
        if abs(number) > most:
            shown = number if abs(number) < 10**18 else f"a number of {len(hex(number)) - 2} hexadecimal digits"
            raise ValueError(f"{name} is {shown}; it must be at most {most}")


def require_layers(config: Any) -> None:
    """Check the sizes in a configuration. Errors name the field.

    Args:
        config: A configuration of transformers, which also knows each model's sizes by the names in `FROM_ONE`.

    Raises:
        ValueError: A size, here or in a nested configuration, is not a whole number of at least 1.
    """
    waiting = [config]
    while waiting:
        config = waiting.pop()
        for name in FROM_ONE:
            value = getattr(config, name, None)
            for number in value if isinstance(value, list | tuple) else [value]:
                if isinstance(number, int | float) and (number < 1 or number != int(number)):
                    own_name = getattr(config, "attribute_map", {}).get(name, name)
                    raise ValueError(f"{own_name} is {number!r}; it must be a whole number of at least 1")
        waiting += [one for one in vars(config).values() if hasattr(one, "attribute_map")]


def require_entries(model: nn.Module) -> nn.Module:
    """Return the model itself.

    Raises:
        ValueError: A matrix or vector has no entries, which a size of 0 causes.
    """
    for name, parameter in model.named_parameters():
        # Some models have no register tokens, (1, n, d).
        if not parameter.numel() and parameter.ndim < 3:
            raise ValueError(f"its weight {name} has the shape {tuple(parameter.shape)}; all sizes must be at least 1")
    return model


@contextmanager
def bounded_tensors() -> Iterator[None]:
    """Limit modules that are created inside the block to `MOST_TENSORS` parameters in total.

    Raises:
        ValueError: There are more.
    """
    made = 0

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal made
        made += 1
        if made > MOST_TENSORS:
            raise ValueError(f"it has more than {MOST_TENSORS} weight tensors, which is the limit")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _whole_numbers(fields: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    # No recursion here, because a configuration may be nested as deeply as its reader allows.
    waiting: list[tuple[str, Any]] = list(fields.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((name, one) for one in value)
        elif isinstance(value, int):
            yield name, value
