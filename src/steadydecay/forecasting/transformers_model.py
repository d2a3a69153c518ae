"""Build a transformers model from its configuration alone, on the meta device, without weights or network."""

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

# For configurations that name no class. Encoders come first, because many are also listed as causal models.
AUTO_CLASSES = ("AutoModelForMaskedLM", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM")
AUTO_CLASSES += ("AutoModelForImageClassification", "AutoModel")
# The largest public configurations have tens of kilobytes, or a megabyte with the names of their labels.
MOST_BYTES = 2**24
# The longest part of a foreign message that is shown.
MOST_CHARACTERS = 300


def model_on_meta(name: str) -> nn.Module:
    """Build the model of a configuration file, of a folder with a `config.json`, or of a model type ("gpt2").

    A type stands for its default configuration. The class is the first of the configuration's `architectures`, or else
    the type's language model, or else its image classifier. No hub is contacted: whatever a configuration only names,
    such as the backbone "microsoft/resnet-50", is refused.

    Raises:
        ValueError: transformers is not installed, the file or type does not exist, or the configuration builds no
            model,
            exceeds the limits of `model_bounds`, or needs something from a hub.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError(f"model is {name!r}, which needs transformers; run pip install 'steadydecay[hf]'") from None
    types = list(transformers.models.auto.configuration_auto.CONFIG_MAPPING.keys())
    model_type, fields = _configuration(name, types)
    try:
        require_bounded(fields)
        with _no_hub(), bounded_tensors(), torch.device("meta"):
            config = transformers.AutoConfig.for_model(model_type, **fields)
            require_layers(config)
            return require_entries(_built(config, transformers))
    # A foreign configuration may raise any exception at all in a constructor.
    except Exception as error:
        reason = f"model is {name!r}, but its configuration builds no {model_type!r}: {_in_one_line(error)}"
        raise ValueError(reason) from error


@contextmanager
def _no_hub() -> Iterator[None]:
    """Raise an error for anything inside the block that contacts a hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    except OfflineModeIsEnabled:
        remedy = (
            "give what it needs in the configuration itself, such as a backbone_config instead of a backbone's name"
        )
        raise ValueError(f"it names something on a hub, which is never contacted; {remedy}") from None
    finally:
        constants.HF_HUB_OFFLINE = before


def _in_one_line(error: Exception) -> str:
    """Return the text of an error, with its type if the text alone is not informative."""
    kind = "" if isinstance(error, ValueError | OSError) else type(error).__name__
    return shorten(": ".join(filter(None, (kind, str(error)))), MOST_CHARACTERS, placeholder=" ...")


def _configuration(name: str, types: list[str]) -> tuple[str, dict[str, Any]]:
    path = Path(name)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        _require_type(
            f"model is {name!r}, which is not a configuration file, a folder with config.json, or a type", name, types
        )
        return name, {}
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(
            f"model is {name!r}, but {path} has more than {MOST_BYTES} bytes, which is the limit for a configuration"
        )
    try:
        # Read bytes, to understand a byte-order mark or UTF-16, which editors and shells may leave.
        fields = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"model is {name!r}, but {path} is nested too deeply for a configuration") from None
    except ValueError as error:
        raise ValueError(f"model is {name!r}, but {path} is not JSON: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise ValueError(f"model is {name!r}, but {path} has no model_type; give a configuration of transformers")
    model_type = fields.pop("model_type")
    _require_type(
        f"model is {name!r}, but model_type in {path} is {model_type!r}, which is not a type", model_type, types
    )
    return model_type, fields


def _require_type(problem: str, model_type: str, types: list[str]) -> None:
    if model_type not in types:
        hint = nearest(model_type, types)
        # A list of hundreds would not help.
        hint = hint if "did you mean" in hint else "; examples are 'gpt2', 'llama' and 'vit'"
        raise ValueError(f"{problem} of transformers{hint}")


def _built(config: Any, transformers: Any) -> nn.Module:
    named = config.architectures[0] if config.architectures else None
    if named is not None:
        found = getattr(transformers, named)
        # Other names in transformers have side effects when they are called, and some write files.
        if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
            raise ValueError(f"architectures names {named!r}, which is not a model of transformers")
        return found(config)
    others = (name for name in dir(transformers) if name.startswith("AutoModelFor"))
    auto_classes = (getattr(transformers, name) for name in (*AUTO_CLASSES, *others))
    found = next((one for one in auto_classes if type(config) in (getattr(one, "_model_mapping", None) or ())), None)
    if found is None:
        raise ValueError(
            "transformers has no automatic class for it; name one of its classes in the configuration, as in "
            '"architectures": ["..."]'
        )
    # Where a type has several classes, transformers goes through these, and None is not for that.
    config.architectures = []
    return found.from_config(config)
