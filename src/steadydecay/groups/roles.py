"""Which role each parameter of a model has, found from the modules it lives in."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from torch import Tensor, nn

Role = Literal["hidden", "output", "embedding", "vector", "conv"]
ROLES: tuple[Role, ...] = get_args(Role)
Output = None | Literal[False] | str | Sequence[str] | nn.Module

OUTPUT_MODULE_NAMES = {"lm_head", "head", "classifier", "output", "fc_out", "score", "fc", "unembed", "unembedding"}


def main_role(roles: Sequence[str]) -> str:
    """The role whose norms are shown: "hidden", or the first where none has that name; "hidden" if there are none."""
    return "hidden" if "hidden" in roles or not roles else roles[0]


def roles_of(model: nn.Module, output: Output = None) -> dict[str, Role]:
    """The role of each parameter by its first name; `output` as in `param_groups`.

    Raises:
        ValueError: an output pattern that matches no parameter.
    """
    output_names = _output_names(model, output)
    owners = owners_of(model)
    return {
        name: _role(name, parameter, owners[name], name in output_names) for name, parameter in model.named_parameters()
    }


def owners_of(model: nn.Module) -> dict[str, nn.Module]:
    """The module that each parameter is an attribute of, by the parameter's name."""
    return {f"{path}.{name}" if path else name: m for path, m in model.named_modules() for name in m._parameters}


def require_match(pattern: str, names: Iterable[str], argument: str) -> list[str]:
    """Names that match as a whole, or lie in a module of that name; ValueError with the nearest where none does."""
    names = list(names)
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if argument == "output":
        matches += [name for name in names if fnmatch.fnmatchcase(name, f"{pattern}.*")]
    if not matches:
        nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(f"{argument} has pattern {pattern!r}, which matches no parameter; nearest names: {nearest}")
    return matches


def _role(name: str, parameter: Tensor, owner: nn.Module, is_output: bool) -> Role:
    is_kernel = isinstance(owner, nn.modules.conv._ConvNd)
    is_one_vector = parameter.numel() == max(parameter.shape, default=1) and parameter.ndim != 2 and not is_kernel
    # A stack of experts has a stack of biases.
    if parameter.ndim < 2 or is_one_vector or name.endswith("bias"):
        return "vector"
    if is_output:
        return "output"
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag) or "embed" in name.rpartition(".")[2]:
        return "embedding"
    return "conv" if is_kernel else "hidden"


def _output_names(model: nn.Module, output: Output) -> set[str]:
    """First names of the output layer's parameters, tied ones included."""
    if output is False:
        return set()
    every_name = dict(model.named_parameters(remove_duplicate=False))
    if output is None:
        chosen = _found_output(model)
    elif isinstance(output, nn.Module):
        chosen = list(output.parameters())
    else:
        patterns = [output] if isinstance(output, str) else output
        chosen = [every_name[name] for pattern in patterns for name in require_match(pattern, every_name, "output")]
    chosen_ids = {id(parameter) for parameter in chosen}
    return {name for name, parameter in model.named_parameters() if id(parameter) in chosen_ids}


def _found_output(model: nn.Module) -> list[Tensor]:
    accessor = getattr(model, "get_output_embeddings", None)
    module = accessor() if callable(accessor) else None
    if isinstance(module, nn.Module):
        return list(module.parameters())
    if tied := _weights_tied_to_embeddings(model):
        return tied
    linears = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    named = [(path, module) for path, module in linears if path.rpartition(".")[2] in OUTPUT_MODULE_NAMES]
    if named:
        return list(min(reversed(named), key=lambda found: found[0].count("."))[1].parameters())
    # A Hugging Face model that says it has no output embeddings is an encoder, and a Linear in the last of several
    # layers is hidden: the last Linear is an output only in between.
    is_in_layers = bool(linears) and any(linears[-1][0].startswith(f"{path}.") for path in _layer_lists(model))
    return [] if not linears or is_in_layers or callable(accessor) else list(linears[-1][1].parameters())


def _layer_lists(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if isinstance(module, nn.ModuleList)]


def _weights_tied_to_embeddings(model: nn.Module) -> list[Tensor]:
    in_embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    elsewhere = [p for m in model.modules() if not isinstance(m, nn.Embedding) for p in m._parameters.values()]
    return [parameter for parameter in elsewhere if id(parameter) in in_embeddings and parameter is not None]
