"""What `describe` says of real model classes, read once by a person and kept."""

# The text is kept as it is printed.
# ruff: noqa: E501

import re
from collections.abc import Callable
from typing import Any

import pytest
import transformers
from torch import nn

import steadydecay as sd

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT: dict[str, Any] = SMALL | {"vocab_size": 64}
GROUPED: dict[str, Any] = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
SPECIAL: dict[str, Any] = {f"{token}_token_id": 0 for token in ("pad", "bos", "eos", "cls", "sep")}


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED))


def qwen3_tied() -> nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**GROUPED, tie_word_embeddings=True))


def vit() -> nn.Module:
    more: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_labels": 5}
    config = transformers.ViTConfig(**SMALL, **more)
    return transformers.ViTForImageClassification(config)


def modernbert() -> nn.Module:
    return transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**TEXT, **SPECIAL))


def qwen3_experts() -> nn.Module:
    experts: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**GROUPED, **experts))


def torch_transformer() -> nn.Module:
    return nn.Transformer(32, 4, 1, 1, 48)


EXPECTED: dict[Callable[[], nn.Module], str] = {}


def described(model: nn.Module) -> str:
    """Role, norm, tensors, parameters and names of each group but the vectors'."""
    lines = sd.describe(sd.param_groups(model, lr=0.1)).splitlines()
    cells = [re.split(r"\s{2,}", line) for line in lines[1:]]
    kept = [(row[0], row[1], row[2], row[6], row[7], row[8]) for row in cells if row[0] != "vector"]
    return "\n".join(" | ".join(row) for row in kept)


EXPECTED[gpt2] = """
output | sign | constant | 1 | 2,048 | transformer.wte.weight
embedding | sign | as optimizer | 1 | 32,768 | transformer.wpe.weight
hidden | spectral(transposed=True, split_sizes=(32, 32, 32)) | as optimizer | 2 | 6,144 | transformer.h.*.attn.c_attn.weight
hidden | spectral(transposed=True) | as optimizer | 6 | 18,432 | transformer.h.*.attn.c_proj.weight transformer.h.*.mlp.c_fc.weight transformer.h.*.mlp.c_proj.weight
"""

EXPECTED[llama] = """
embedding | sign | as optimizer | 1 | 2,048 | model.embed_tokens.weight
hidden | spectral | as optimizer | 14 | 15,360 | model.layers.*.self_attn.q_proj.weight model.layers.*.self_attn.k_proj.weight model.layers.*.self_attn.v_proj.weight model.layers.*.self_attn.o_proj.weight model.layers.*.mlp.gate_proj.weight model.layers.*.mlp.up_proj.weight model.layers.*.mlp.down_proj.weight
output | sign | constant | 1 | 2,048 | lm_head.weight
"""

EXPECTED[qwen3_tied] = """
output | sign | constant | 1 | 2,048 | model.embed_tokens.weight
hidden | spectral | as optimizer | 14 | 15,360 | model.layers.*.self_attn.q_proj.weight model.layers.*.self_attn.k_proj.weight model.layers.*.self_attn.v_proj.weight model.layers.*.self_attn.o_proj.weight model.layers.*.mlp.gate_proj.weight model.layers.*.mlp.up_proj.weight model.layers.*.mlp.down_proj.weight
"""

EXPECTED[vit] = """
embedding | sign | as optimizer | 1 | 544 | vit.embeddings.position_embeddings
conv | spectral_conv | as optimizer | 1 | 6,144 | vit.embeddings.patch_embeddings.projection.weight
hidden | spectral | as optimizer | 12 | 14,336 | vit.layers.*.attention.q_proj.weight vit.layers.*.attention.k_proj.weight vit.layers.*.attention.v_proj.weight vit.layers.*.attention.o_proj.weight vit.layers.*.mlp.fc1.weight vit.layers.*.mlp.fc2.weight
output | sign | constant | 1 | 160 | classifier.weight
"""

EXPECTED[modernbert] = """
output | sign | constant | 1 | 2,048 | model.embeddings.tok_embeddings.weight
hidden | spectral(split_sizes=(32, 32, 32)) | as optimizer | 2 | 6,144 | model.layers.*.attn.Wqkv.weight
hidden | spectral | as optimizer | 5 | 6,144 | model.layers.*.attn.Wo.weight model.layers.*.mlp.Wo.weight head.dense.weight
hidden | spectral(split_sizes=(48, 48)) | as optimizer | 2 | 6,144 | model.layers.*.mlp.Wi.weight
"""

EXPECTED[qwen3_experts] = """
embedding | sign | as optimizer | 1 | 2,048 | model.embed_tokens.weight
hidden | spectral | as optimizer | 12 | 10,496 | model.layers.*.self_attn.q_proj.weight model.layers.*.self_attn.k_proj.weight model.layers.*.self_attn.v_proj.weight model.layers.*.self_attn.o_proj.weight model.layers.*.mlp.experts.down_proj model.layers.*.mlp.gate.weight
hidden | spectral(split_sizes=(16, 16)) | as optimizer | 2 | 8,192 | model.layers.*.mlp.experts.gate_up_proj
output | sign | constant | 1 | 2,048 | lm_head.weight
"""

EXPECTED[torch_transformer] = """
hidden | spectral(split_sizes=(32, 32, 32)) | as optimizer | 3 | 9,216 | encoder.layers.*.self_attn.in_proj_weight decoder.layers.*.self_attn.in_proj_weight decoder.layers.*.multihead_attn.in_proj_weight
hidden | spectral | as optimizer | 7 | 9,216 | encoder.layers.*.self_attn.out_proj.weight encoder.layers.*.linear1.weight encoder.layers.*.linear2.weight decoder.layers.*.self_attn.out_proj.weight decoder.layers.*.multihead_attn.out_proj.weight decoder.layers.*.linear1.weight decoder.layers.*.linear2.weight
"""


@pytest.mark.parametrize("build", EXPECTED, ids=[build.__name__ for build in EXPECTED])
def test_describe_says_what_a_person_has_checked(build: Callable[[], nn.Module]) -> None:
    assert described(build()) == EXPECTED[build].strip()


@pytest.mark.parametrize("build", EXPECTED, ids=[build.__name__ for build in EXPECTED])
def test_every_trainable_parameter_is_described_once(build: Callable[[], nn.Module]) -> None:
    model = build()
    grouped = [id(parameter) for group in sd.param_groups(model, lr=0.1) for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
