from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
)

import steadydecay as sd
from steadydecay.groups.fused import spectral_spec
from steadydecay.norms import lmo_norm_sq, norm_for
from steadydecay.polar import exact_polar

SMALL: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 32}
SMALL |= {"num_attention_heads": 2}
SPECIAL: dict[str, Any] = {f"{token}_token_id": 0 for token in ("pad", "bos", "eos", "cls", "sep")}
MOE: dict[str, Any] = SMALL | {"num_key_value_heads": 1, "num_local_experts": 4, "head_dim": 8}


def gpt2() -> nn.Module:
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config)


def modernbert() -> nn.Module:
    return ModernBertForMaskedLM(ModernBertConfig(**SMALL, **SPECIAL))


def mixtral() -> nn.Module:
    return MixtralForCausalLM(MixtralConfig(**MOE))


def gpt_oss() -> nn.Module:
    return GptOssForCausalLM(GptOssConfig(**MOE))


def torch_encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 2, 24)


CASES = [
    (gpt2, "transformer.h.0.attn.c_attn.weight", (16, 16, 16), True),
    (gpt2, "transformer.h.0.mlp.c_fc.weight", None, True),
    (modernbert, "model.layers.0.attn.Wqkv.weight", (16, 16, 16), False),
    (modernbert, "model.layers.0.mlp.Wi.weight", (24, 24), False),
    (mixtral, "model.layers.0.mlp.experts.gate_up_proj", (24, 24), False),
    (mixtral, "model.layers.0.mlp.experts.down_proj", None, False),
    (gpt_oss, "model.layers.0.mlp.experts.gate_up_proj", None, True),
    (torch_encoder_layer, "self_attn.in_proj_weight", (16, 16, 16), False),
    (torch_encoder_layer, "linear1.weight", None, False),
]


@pytest.mark.parametrize(("build", "name", "split_sizes", "transposed"), CASES)
def test_matrices_in_weights_of_real_models(
    build: Callable[[], nn.Module], name: str, split_sizes: tuple[int, ...] | None, transposed: bool
) -> None:
    groups = sd.param_groups(build(), lr=0.1, output=False)
    norm = next(norm_for(group["norm"], 2) for group in groups if name in group["param_names"])
    assert isinstance(norm, sd.norms.Spectral)
    assert (norm.split_sizes, norm.transposed) == (split_sizes, transposed)


def test_lmo_of_a_fused_weight_is_that_of_each_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(24, 8, generator=generator, dtype=torch.float64)
    spec = spectral_spec("attn.qkv.weight", gradient, nn.Linear(8, 24))
    assert isinstance(spec, dict)
    update = norm_for(spec | {"steps": 10}, 2).lmo(gradient)
    expected = torch.cat([exact_polar(block) for block in gradient.chunk(3)])
    torch.testing.assert_close(update, expected)


@pytest.mark.parametrize("split_sizes", [None, (4, 8)])
def test_a_transposed_weight_has_the_transposed_update(split_sizes: tuple[int, ...] | None) -> None:
    gradient = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = sd.norms.Spectral(split_sizes=split_sizes, steps=9)
    transposed = sd.norms.Spectral(split_sizes=split_sizes, transposed=True, steps=9)
    torch.testing.assert_close(transposed.lmo(gradient.mT), plain.lmo(gradient).mT)
    torch.testing.assert_close(transposed.norm(gradient.mT), plain.norm(gradient))
    torch.testing.assert_close(transposed.dual_norm(gradient.mT), plain.dual_norm(gradient))
    assert lmo_norm_sq(transposed, (2, 5, 12)) == lmo_norm_sq(plain, (2, 12, 5))


def test_init_of_a_transposed_fused_weight_has_norm_one() -> None:
    norm = sd.norms.Spectral(split_sizes=(8, 8, 8), transposed=True)
    weight: Tensor = norm.init_(torch.empty(8, 24))
    assert norm.norm(weight).item() == pytest.approx(1, rel=1e-5)
    assert torch.linalg.matrix_norm(weight[:, :8], 2).item() == pytest.approx(1, rel=1e-5)


def test_biases_of_stacked_experts_are_vectors() -> None:
    groups = sd.param_groups(gpt_oss(), lr=0.1)
    vectors = next(group["param_names"] for group in groups if group["role"] == "vector")
    assert "model.layers.0.mlp.experts.gate_up_proj_bias" in vectors


def test_layer_decay_scales_lr_from_the_top() -> None:
    groups = sd.param_groups(gpt2(), "adamw", lr=0.1, layer_decay=0.5)
    lr_of = {name: group["lr"] for group in groups for name in group["param_names"]}
    assert lr_of["transformer.ln_f.weight"] == 0.1
    assert lr_of["transformer.h.0.ln_1.weight"] == 0.05
    assert lr_of["transformer.wpe.weight"] == 0.025


@pytest.mark.parametrize("layer_decay", [0.0, -1.0, 1.5, float("nan")])
def test_layer_decay_out_of_range(layer_decay: float) -> None:
    with pytest.raises(ValueError, match=r"layer_decay is .*it must be in \(0, 1\]"):
        sd.param_groups(nn.Linear(2, 2), lr=0.1, layer_decay=layer_decay)


def test_a_misspelled_key_names_the_right_one() -> None:
    with pytest.raises(ValueError, match="'weigth_decay' for 'weight'; did you mean 'weight_decay'"):
        sd.param_groups(nn.Linear(2, 2), lr=0.1, overrides={"weight": {"weigth_decay": 0.1}})


@pytest.mark.parametrize("argument", ["lr", "weight_decay"])
def test_an_unknown_role_is_named(argument: str) -> None:
    with pytest.raises(ValueError, match=rf"{argument} has an entry for role 'hiden'; roles must be among 'hidden'"):
        sd.param_groups(nn.Linear(2, 2), **{"lr": 0.1} | {argument: {"hiden": 0.1}})  # pyright: ignore[reportArgumentType]
