"""Models from configurations: no weights, no network."""

import json
import sys
from pathlib import Path

import pytest
from torch import nn

import steadydecay as sd
from steadydecay.forecasting.transformers_model import model_on_meta

TINY = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)


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
        ("{", "is no JSON"),
        (b"\xff\xfe{", "is no JSON"),
        ("[]", "has no model_type"),
        ("{}", "has no model_type"),
        ('{"model_type": 3}', "has no model_type"),
        ('{"model_type": "lama"}', "model_type in .* is 'lama', no type of transformers; did you mean 'llama'"),
        (json.dumps(TINY | {"num_attention_heads": 0}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"hidden_size": "wide"}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"architectures": ["Nothing"]}), "its configuration builds no 'llama': "),
        (json.dumps(TINY | {"architectures": 3}), "its configuration builds no 'llama': "),
    ],
)
def test_a_broken_configuration_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as raised:
        model_on_meta(str(path))
    assert str(raised.value).startswith(f"model is {str(path)!r}, and ")


@pytest.mark.parametrize(("name", "hint"), [("lama", "did you mean 'llama'"), ("0/1", "legal are 'gpt2'")])
def test_an_unknown_model_is_named(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"model is '{name}', no configuration file, .*; {hint}"):
        model_on_meta(name)


def test_without_transformers_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"model is 'gpt2', which needs transformers: pip install 'steadydecay\[hf\]'"):
        model_on_meta("gpt2")
