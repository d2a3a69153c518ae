"""Guesses from names and shapes against what the modules themselves say."""

from collections.abc import Callable
from typing import Any

import pytest
import transformers
from torch import nn

from steadydecay.groups.fused import spectral_spec
from steadydecay.groups.places import owners_of
from steadydecay.groups.roles import roles_of
from steadydecay.inspection.module_skeleton import Guess, guesses
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.recipes.gpt.model import GPT

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT: dict[str, Any] = SMALL | {"vocab_size": 64}


def own_gpt() -> nn.Module:
    return GPT(64, 2, 2, 32)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, num_key_value_heads=2))


def neox() -> nn.Module:
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**TEXT))


def vit() -> nn.Module:
    more: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_labels": 5}
    return transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, **more))


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**TEXT))


def t5() -> nn.Module:
    config = transformers.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    return transformers.T5EncoderModel(config)


def torch_transformer() -> nn.Module:
    return nn.Transformer(32, 4, 1, 1, 48)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def convolutions() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv3d(8, 8, 3))
    return nn.ModuleDict({"body": body, "conv": nn.Conv1d(8, 8, 3), "fc": nn.Linear(8, 3)})


MODELS = [own_gpt, gpt2, llama, neox, vit, bert, t5, torch_transformer, perceptron, convolutions]
# Without modules a weight that is tied and saved once cannot be told from an embedding, and the last Linear not from
# an output layer.
MISSED = {
    gpt2: {"transformer.wte.weight": "embedding"},
    bert: {"pooler.dense.weight": "output"},
}


def stored(model: nn.Module) -> list[StoredWeight]:
    """As a file lists a model's state dict, in its order."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shapes = {id(parameter): tuple(parameter.shape) for parameter in model.parameters()}
    return [StoredWeight(first, shapes[key], "float32", tuple(tied)) for key, (first, *tied) in names.items()]


@pytest.mark.parametrize("make", MODELS)
def test_roles_are_those_of_the_model(make: Callable[[], nn.Module]) -> None:
    model = make()
    as_saved = [one._replace(tied=()) if make is gpt2 else one for one in stored(model)]
    found = {name: guess.role for name, guess in guesses(as_saved, in_model_order=True).items()}
    assert found == {**roles_of(model), **MISSED.get(make, {})}


@pytest.mark.parametrize("make", [own_gpt, gpt2, llama, vit, torch_transformer])
def test_matrices_are_told_apart_as_in_the_model(make: Callable[[], nn.Module]) -> None:
    model = make()
    owners = owners_of(model)
    for name, guess in guesses(stored(model), in_model_order=True).items():
        if guess.role == "hidden":
            assert guess.matrices == spectral_spec(name, model.get_parameter(name), owners[name]), name


def test_files_sorted_by_name_give_an_encoder_no_output() -> None:
    weights = sorted(stored(bert()))
    assert guesses(weights, in_model_order=False)["pooler.dense.weight"].role == "hidden"
    assert guesses(sorted(stored(llama())), in_model_order=False)["lm_head.weight"].role == "output"


def test_a_transposed_fused_weight_is_known_by_its_shape() -> None:
    names = {"h.0.attn.c_attn.weight": (8, 24), "h.0.mlp.c_fc.weight": (8, 32)}
    transposed = guesses([StoredWeight(name, shape, "float32") for name, shape in names.items()], False)
    assert transposed["h.0.attn.c_attn.weight"].matrices == {
        "name": "spectral",
        "transposed": True,
        "split_sizes": (8, 8, 8),
    }
    assert transposed["h.0.mlp.c_fc.weight"].matrices == {"name": "spectral", "transposed": True}
    # nanoGPT has the same names over nn.Linear.
    linear = [StoredWeight(name, shape[::-1], "float32") for name, shape in names.items()]
    assert guesses(linear, False)["h.0.mlp.c_fc.weight"].matrices == "spectral"


def test_prefixes_of_wrappers_do_not_hide_the_output() -> None:
    weights = [StoredWeight(f"module._orig_mod.{name}.weight", (4, 4), "float32") for name in ("up", "lm_head")]
    found = guesses(weights, in_model_order=False)
    assert {name: guess.role for name, guess in found.items()} == {
        "module._orig_mod.up.weight": "hidden",
        "module._orig_mod.lm_head.weight": "output",
    }


def test_vectors_and_kernels_have_no_matrices_of_their_own() -> None:
    shapes = {"c.weight": (4, 2, 3, 3), "norm.weight": (4,), "scores.weight": (5, 4, 1, 1)}
    found = guesses([StoredWeight(name, shape, "float32") for name, shape in shapes.items()], in_model_order=True)
    assert found == {
        "c.weight": Guess("conv", "spectral_conv"),
        "norm.weight": Guess("vector", None),
        "scores.weight": Guess("output", "spectral_conv"),
    }


ODD_NAMES = [
    "",
    ".",
    "a..b",
    "a",
    "a.weight",
    "training",
    "forward.weight",
    "weight",
    "_modules.x",
    "3",
    "a.[red].\x1b",
]


def test_names_that_no_module_would_take_are_guessed_too() -> None:
    found = guesses([StoredWeight(name, (4, 4), "float32") for name in ODD_NAMES], in_model_order=True)
    assert list(found) == ODD_NAMES
    assert {guess.role for guess in found.values()} <= {"hidden", "output"}


def test_a_name_of_absurd_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="a weight's name has 5000 parts; it must have at most 100"):
        guesses([StoredWeight("a." * 5000 + "weight", (4, 4), "float32")], in_model_order=True)
