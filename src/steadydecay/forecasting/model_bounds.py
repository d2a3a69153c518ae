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
# What transformers calls the sizes that no model is without, whatever a configuration calls them.
FROM_ONE = ("num_hidden_layers", "num_layers", "hidden_size", "hidden_sizes", "num_attention_heads", "vocab_size")
FROM_ONE += ("depths", "embed_dim", "encoder_layers", "decoder_layers", "num_decoder_layers", "intermediate_size")
FROM_ONE += ("num_heads",)
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


def require_layers(config: Any) -> None:
    """Errors name the field.

    Args:
        config: of transformers, which knows the sizes of each model by the names in `FROM_ONE`, too.

    Raises:
        ValueError: a size in it, or in a configuration within it, that is no whole number from 1 on.
    """
    waiting = [config]
    while waiting:
        config = waiting.pop()
        for name in FROM_ONE:
            value = getattr(config, name, None)
            for number in value if isinstance(value, list | tuple) else [value]:
                if isinstance(number, int | float) and (number < 1 or number != int(number)):
                    own_name = getattr(config, "attribute_map", {}).get(name, name)
                    raise ValueError(f"{own_name} is {number!r}; legal are whole numbers from 1 on")
        waiting += [one for one in vars(config).values() if hasattr(one, "attribute_map")]


def require_entries(model: nn.Module) -> nn.Module:
    """The model itself.

    Raises:
        ValueError: a matrix or vector without entries, which a size of 0 makes.
    """
    for name, parameter in model.named_parameters():
        # Of register tokens, (1, n, d), some models have none.
        if not parameter.numel() and parameter.ndim < 3:
            raise ValueError(f"its weight {name} has the shape {tuple(parameter.shape)}; legal are sizes from 1 on")
    return model


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
