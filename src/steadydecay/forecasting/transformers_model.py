"""A transformers model from its configuration alone: on the meta device, without weights and without the network."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from steadydecay.forecasting.model_bounds import bounded_tensors, require_bounded, require_entries, require_layers
from steadydecay.recipes.overrides import nearest

# Where a configuration names no class; encoders come first, because many are also listed as causal models.
AUTO_CLASSES = ("AutoModelForMaskedLM", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM")
AUTO_CLASSES += ("AutoModelForImageClassification", "AutoModel")
# The largest public configurations have some ten kilobytes, or a megabyte with the names of their labels.
MOST_BYTES = 2**24
# Of somebody else's message.
MOST_CHARACTERS = 300


def model_on_meta(name: str) -> nn.Module:
    """The model of a configuration file, of a folder that holds a `config.json`, or of a model type ("gpt2").

    A type stands for its default configuration. The class is the first of the configuration's `architectures`, else
    the type's language model, else its image classifier. No hub is asked for anything: what a configuration names
    only, such as the backbone "microsoft/resnet-50", is refused.

    Raises:
        ValueError: transformers is not installed, no such file or type, or a configuration that builds no model, that
            asks for one beyond the bounds of `model_bounds`, or for something from a hub.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError(f"model is {name!r}, which needs transformers: pip install 'steadydecay[hf]'") from None
    types = list(transformers.models.auto.configuration_auto.CONFIG_MAPPING.keys())
    model_type, fields = _configuration(name, types)
    try:
        require_bounded(fields)
        with _no_hub(), bounded_tensors(), torch.device("meta"):
            config = transformers.AutoConfig.for_model(model_type, **fields)
            require_layers(config)
            return require_entries(_built(config, transformers))
    # What a foreign configuration does in a constructor is any exception at all.
    except Exception as error:
        reason = f"model is {name!r}, and its configuration builds no {model_type!r}: {_in_one_line(error)}"
        raise ValueError(reason) from error


@contextmanager
def _no_hub() -> Iterator[None]:
    """Within it, whoever asks a hub for anything gets an error instead."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    except OfflineModeIsEnabled:
        remedy = (
            "give what it needs in the configuration itself, such as a backbone_config instead of a backbone's name"
        )
        raise ValueError(f"it names something on a hub, which is never asked; {remedy}") from None
    finally:
        constants.HF_HUB_OFFLINE = before


def _in_one_line(error: Exception) -> str:
    """Its text; with its kind, where that is all there is to understand of it."""
    kind = "" if isinstance(error, ValueError | OSError) else type(error).__name__
    return shorten(": ".join(filter(None, (kind, str(error)))), MOST_CHARACTERS, placeholder=" ...")


def _configuration(name: str, types: list[str]) -> tuple[str, dict[str, Any]]:
    path = Path(name)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        _require_type(f"model is {name!r}, no configuration file, no folder with config.json, and no type", name, types)
        return name, {}
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(
            f"model is {name!r}, and {path} has more than {MOST_BYTES} bytes; no configuration has so many"
        )
    try:
        # Bytes, so that a byte-order mark or UTF-16, which editors and shells leave, are understood.
        fields = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"model is {name!r}, and {path} is nested too deep for a configuration") from None
    except ValueError as error:
        raise ValueError(f"model is {name!r}, and {path} is no JSON: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise ValueError(f"model is {name!r}, and {path} has no model_type; legal is a configuration of transformers")
    model_type = fields.pop("model_type")
    _require_type(f"model is {name!r}, and model_type in {path} is {model_type!r}, no type", model_type, types)
    return model_type, fields


def _require_type(problem: str, model_type: str, types: list[str]) -> None:
    if model_type not in types:
        hint = nearest(model_type, types)
        # A list of hundreds is no hint.
        hint = hint if "did you mean" in hint else "; legal are 'gpt2', 'llama', 'vit' and others"
        raise ValueError(f"{problem} of transformers{hint}")


def _built(config: Any, transformers: Any) -> nn.Module:
    named = config.architectures[0] if config.architectures else None
    if named is not None:
        found = getattr(transformers, named)
        # Other names of transformers do things when they are called, and some write files.
        if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
            raise ValueError(f"architectures names {named!r}, which is no model of transformers")
        return found(config)
    others = (name for name in dir(transformers) if name.startswith("AutoModelFor"))
    auto_classes = (getattr(transformers, name) for name in (*AUTO_CLASSES, *others))
    found = next((one for one in auto_classes if type(config) in (getattr(one, "_model_mapping", None) or ())), None)
    if found is None:
        raise ValueError(
            "transformers has no automatic class for it; name one of its classes in the configuration, as "
            '"architectures": ["..."]'
        )
    # Where a type has several classes, transformers goes through these, and None is not for that.
    config.architectures = []
    return found.from_config(config)
