"""Models from configurations: no weights, no network."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from torch import nn

import steadydecay as sd
from steadydecay.forecasting.transformers_model import model_on_meta

TINY = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What the network was asked for: nothing, whatever became of it."""
    names: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        names.append(arguments)
        raise OSError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    yield names
    assert names == []


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def test_a_type_is_its_default_configuration() -> None:
    found = shapes(model_on_meta("gpt2"))
    assert found["transformer.wte.weight"] == (50257, 768)
    assert found["transformer.h.11.mlp.c_fc.weight"] == (768, 3072)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_configuration_is_read_from_its_file_or_folder(is_folder: bool, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    found = shapes(model_on_meta(str(tmp_path if is_folder else tmp_path / "config.json")))
    assert found["lm_head.weight"] == (32, 16)
    assert found["model.layers.1.mlp.up_proj.weight"] == (24, 16)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_understood(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY), encoding=encoding)
    assert shapes(model_on_meta(str(tmp_path)))["lm_head.weight"] == (32, 16)


def test_a_type_without_a_language_model_is_what_else_it_has_an_automatic_class_for() -> None:
    assert type(model_on_meta("depth_anything")).__name__ == "DepthAnythingForDepthEstimation"
    assert type(model_on_meta("levit")).__name__.startswith("LevitForImageClassification"), "one of two"


def test_the_configuration_says_the_class(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"architectures": ["LlamaModel"]}))
    assert type(model_on_meta(str(tmp_path))).__name__ == "LlamaModel"


@pytest.mark.parametrize(
    ("name", "class_name"), [("bert", "BertForMaskedLM"), ("vit", "ViTForImageClassification"), ("t5", "T5For")]
)
def test_other_types_are_what_they_are_mostly_trained_as(name: str, class_name: str) -> None:
    model = model_on_meta(name)
    assert type(model).__name__.startswith(class_name)
    assert len(sd.param_groups(model, lr=0.1)) >= 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        ("[]", "has no model_type"),
        ("{}", "has no model_type"),
        ('{"model_type": 3}', "has no model_type"),
        (
            '{"model_type": "lama"}',
            "model_type in .* is 'lama', which is not a type of transformers; did you mean 'llama'",
        ),
        (json.dumps(TINY | {"num_attention_heads": 0}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"hidden_size": "wide"}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"architectures": ["Nothing"]}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"architectures": 3}), "its configuration builds no 'llama': "),
        (
            json.dumps(TINY | {"num_hidden_layers": -1}),
            "num_hidden_layers is -1; it must be a whole number of at least 1",
        ),
        ('{"model_type": "gpt2", "n_layer": 0}', "n_layer is 0; it must be a whole number of at least 1"),
        ('{"model_type": "swin", "depths": [2, -2]}', "depths is -2; it must be a whole number of at least 1"),
        ('{"model_type": "t5", "num_decoder_layers": -1}', "num_decoder_layers is -1; it must be"),
        ('{"model_type": "clip", "vision_config": {"num_hidden_layers": 0}}', "num_hidden_layers is 0; it must be"),
        (
            '{"model_type": "mamba", "state_size": 0, "num_hidden_layers": 1}',
            r"A_log has the shape \(1536, 0\); all sizes must be at least 1",
        ),
        ('{"model_type": "rag"}', "transformers has no automatic class for it; name one of its classes in the conf"),
        (
            json.dumps(TINY | {"architectures": ["TrainingArguments"]}),
            "names 'TrainingArguments', which is not a model",
        ),
        (json.dumps(TINY | {"architectures": ["pipeline"]}), "names 'pipeline', which is not a model of transformers"),
        ('{"model_type": "gpt2", "a": ' + "[" * 10**5 + "]" * 10**5 + "}", "is nested too deeply for a configuration"),
        ('{"a": ' * 10**5 + "1" + "}" * 10**5, "is nested too deeply for a configuration"),
        ('{"model_type": "gpt2", "text_config": ' + '{"a": ' * 900 + "1" + "}" * 901, "builds no 'gpt2': "),
        (" " * 2**24 + "{}", "has more than 16777216 bytes"),
    ],
)
def test_a_broken_configuration_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as raised:
        model_on_meta(str(path))
    assert str(raised.value).startswith(f"model is {str(path)!r}, but ")


# Each asks a hub, for a configuration or for weights, if it is let.
BACKBONE = {"backbone": "microsoft/resnet-50", "use_pretrained_backbone": True, "use_timm_backbone": False}


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "detr", "backbone_config": None},
        {"model_type": "conditional_detr", "backbone_config": None},
        {"model_type": "upernet"},
        {"model_type": "depth_anything", "backbone": "facebook/dinov2-small"},
        {"model_type": "mask2former", "backbone": "microsoft/swin-tiny-patch4-window7-224"},
        {"model_type": "dpt", "backbone": "a/b"},
    ],
)
def test_a_hub_is_never_asked(fields: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BACKBONE | fields))
    with pytest.raises(ValueError, match="it names something on a hub, which is never contacted; give what"):
        model_on_meta(str(tmp_path))
    assert constants.HF_HUB_OFFLINE is False, "only while the model is built"


def test_a_backbone_whose_configuration_is_given_is_built_without_weights(tmp_path: Path) -> None:
    resnet = {"model_type": "resnet", "depths": [1, 1, 1, 1], "layer_type": "basic", "hidden_sizes": [8, 8, 8, 16]}
    given = {"model_type": "detr", "use_timm_backbone": False, "use_pretrained_backbone": True, "backbone": None}
    given |= {"backbone_config": resnet, "encoder_layers": 1, "decoder_layers": 1, "d_model": 32}
    (tmp_path / "config.json").write_text(json.dumps(given))
    found = shapes(model_on_meta(str(tmp_path)))
    assert [shape for name, shape in found.items() if name.endswith("input_projection.weight")] == [(32, 16, 1, 1)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "gpt2", "n_layer": 10**9}, "n_layer is 1000000000; it must be at most 2000"),
        ({"model_type": "qwen2", "num_hidden_layers": 10**7}, "num_hidden_layers is 10000000; it must be at most 2000"),
        ({"model_type": "swin", "depths": [2, 10**9]}, "depths is 1000000000; it must be at most 2000"),
        ({"model_type": "bert", "num_labels": 10**9}, "num_labels is 1000000000; it must be at most 1000000"),
        ({"model_type": "llava", "text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 1000000000"),
        ({"model_type": "gpt2", "vocab_size": 10**12}, "vocab_size is 1000000000000; it must be at most 100000000"),
    ],
)
def test_a_model_beyond_all_bounds_is_refused_at_once(fields: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(fields))
    began = time.perf_counter()
    with pytest.raises(ValueError, match=f"its configuration builds no '{fields['model_type']}': {message}"):
        model_on_meta(str(tmp_path))
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(("name", "hint"), [("lama", "did you mean 'llama'"), ("0/1", "examples are 'gpt2'")])
def test_an_unknown_model_is_named(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"model is '{name}', which is not a configuration file, .*; {hint}"):
        model_on_meta(name)


def test_without_transformers_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ValueError, match=r"model is 'gpt2', which needs transformers; run pip install 'steadydecay\[hf\]'"
    ):
        model_on_meta("gpt2")
