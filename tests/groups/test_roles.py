"""Roles of real, small models: what is hidden, output, embedding, vector and convolution."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.bert import BertConfig, BertForSequenceClassification, BertModel
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from transformers.models.llama import LlamaConfig, LlamaForCausalLM
from transformers.models.vit import ViTConfig, ViTForImageClassification

from steadydecay.groups.intrinsic_roles import ROLES
from steadydecay.groups.output_names import OUTPUT_MODULE_NAMES
from steadydecay.groups.roles import require_match, roles_of

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
TOKENS: dict[str, Any] = {"vocab_size": 11, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


class TiedGPT(nn.Module):
    """As nanoGPT writes it, with the head's weight also the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(11, 8),
                "wpe": nn.Embedding(6, 8),
                "h": nn.ModuleList([Block() for _ in range(2)]),
                "ln_f": nn.LayerNorm(8),
            }
        )
        self.to_logits = nn.Linear(8, 11, bias=False)
        wte = self.transformer["wte"]
        assert isinstance(wte, nn.Embedding)
        wte.weight = self.to_logits.weight


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(8)
        self.c_attn = nn.Linear(8, 24)
        self.c_proj = nn.Linear(8, 8)


class ViTLike(nn.Module):
    """Parameters that stand in no layer of torch's, in the shapes that image models give them."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 8))
        self.layer_scale = nn.Parameter(torch.ones(8, 1, 1))
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.experts = nn.Parameter(torch.zeros(3, 8, 8))
        self.head = nn.Linear(8, 4)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv3d(4, 2, 2),
        nn.ConvTranspose2d(2, 4, 2),
        nn.Conv2d(1, 8, 1),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def transformer_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    return nn.TransformerEncoder(layer, num_layers=2)


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_positions=6, n_embd=8, n_layer=2, n_head=2, **TOKENS))


def llama() -> nn.Module:
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False, num_key_value_heads=1, **SMALL, **TOKENS))


def bert() -> nn.Module:
    return BertModel(BertConfig(max_position_embeddings=6, **SMALL, **TOKENS))


def bert_classifier() -> nn.Module:
    return BertForSequenceClassification(BertConfig(max_position_embeddings=6, **SMALL, **TOKENS))


def vit_classifier() -> nn.Module:
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **SMALL))


# Names that are not vectors, numbers of layers as stars.
BERT_ROLES = {
    "embeddings.word_embeddings.weight": "embedding",
    "embeddings.position_embeddings.weight": "embedding",
    "embeddings.token_type_embeddings.weight": "embedding",
    "encoder.layer.*.attention.self.query.weight": "hidden",
    "encoder.layer.*.attention.self.key.weight": "hidden",
    "encoder.layer.*.attention.self.value.weight": "hidden",
    "encoder.layer.*.attention.output.dense.weight": "hidden",
    "encoder.layer.*.intermediate.dense.weight": "hidden",
    "encoder.layer.*.output.dense.weight": "hidden",
    "pooler.dense.weight": "hidden",
}
CASES: list[tuple[Callable[[], nn.Module], dict[str, str]]] = [
    (mlp, {"0.weight": "hidden", "3.weight": "hidden", "5.weight": "output"}),
    (convolutions, {**{f"{i}.weight": "conv" for i in range(5)}, "7.weight": "output"}),
    (
        TiedGPT,
        {
            "transformer.wte.weight": "output",
            "transformer.wpe.weight": "embedding",
            "transformer.h.*.c_attn.weight": "hidden",
            "transformer.h.*.c_proj.weight": "hidden",
        },
    ),
    (ViTLike, {"pos_embed": "embedding", "experts": "hidden", "head.weight": "output"}),
    (
        gpt2,
        {
            "transformer.wte.weight": "output",
            "transformer.wpe.weight": "embedding",
            "transformer.h.*.attn.c_attn.weight": "hidden",
            "transformer.h.*.attn.c_proj.weight": "hidden",
            "transformer.h.*.mlp.c_fc.weight": "hidden",
            "transformer.h.*.mlp.c_proj.weight": "hidden",
        },
    ),
    (
        llama,
        {
            "model.embed_tokens.weight": "embedding",
            **{f"model.layers.*.self_attn.{x}_proj.weight": "hidden" for x in "qkvo"},
            **{f"model.layers.*.mlp.{x}_proj.weight": "hidden" for x in ("gate", "up", "down")},
            "lm_head.weight": "output",
        },
    ),
    (bert, BERT_ROLES),
    (bert_classifier, {**{f"bert.{name}": role for name, role in BERT_ROLES.items()}, "classifier.weight": "output"}),
    (
        vit_classifier,
        {
            "vit.embeddings.position_embeddings": "embedding",
            "vit.embeddings.patch_embeddings.projection.weight": "conv",
            **{f"vit.layers.*.attention.{x}_proj.weight": "hidden" for x in "qkvo"},
            **{f"vit.layers.*.mlp.fc{x}.weight": "hidden" for x in (1, 2)},
            "classifier.weight": "output",
        },
    ),
]


def without_layer_numbers(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


@pytest.mark.parametrize(("build", "expected"), CASES, ids=[build.__name__ for build, _ in CASES])
def test_roles_of_a_model(build: Callable[[], nn.Module], expected: dict[str, str]) -> None:
    model = build()
    roles = roles_of(model)
    assert list(roles) == [name for name, _ in model.named_parameters()]
    found = {without_layer_numbers(name): role for name, role in roles.items() if role != "vector"}
    assert found == expected


@pytest.mark.parametrize("build", [build for build, _ in CASES])
def test_vectors_are_one_line_of_numbers(build: Callable[[], nn.Module]) -> None:
    model = build()
    vectors = [model.get_parameter(name) for name, role in roles_of(model).items() if role == "vector"]
    assert vectors
    assert all(vector.numel() == max(vector.shape, default=1) for vector in vectors)


def test_the_last_linear_in_a_list_of_layers_is_no_output() -> None:
    model = transformer_encoder()
    assert "output" not in roles_of(model).values()
    assert roles_of(model) == roles_of(model, output=False)
    roles = roles_of(model, output=False)
    assert {without_layer_numbers(name) for name, role in roles.items() if role == "hidden"} == {
        "layers.*.self_attn.in_proj_weight",
        "layers.*.self_attn.out_proj.weight",
        "layers.*.linear1.weight",
        "layers.*.linear2.weight",
    }
    assert "output" not in roles.values()


@pytest.mark.parametrize("name", sorted(OUTPUT_MODULE_NAMES))
def test_a_usual_name_is_the_output_wherever_it_stands(name: str) -> None:
    model = nn.Module()
    model.add_module(name, nn.Linear(4, 3))
    model.add_module("first", nn.Linear(4, 4))
    assert roles_of(model) == {
        f"{name}.weight": "output",
        f"{name}.bias": "vector",
        "first.weight": "hidden",
        "first.bias": "vector",
    }


def test_of_two_usual_names_the_one_nearest_to_the_top_is_the_output() -> None:
    model = nn.Module()
    model.add_module("head", nn.Linear(4, 3, bias=False))
    model.add_module("block", nn.Sequential())
    model.get_submodule("block").add_module("fc", nn.Linear(4, 4, bias=False))
    assert roles_of(model) == {"head.weight": "output", "block.fc.weight": "hidden"}


def test_of_two_usual_names_at_one_depth_the_later_is_the_output() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(4, 4, bias=False), "head": nn.Linear(4, 3, bias=False)})
    assert roles_of(model) == {"fc.weight": "hidden", "head.weight": "output"}


class HalfTied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.position = nn.Embedding(5, 4)
        self.first = nn.Linear(4, 4, bias=False)
        self.logits = nn.Linear(4, 7, bias=False)
        self.last = nn.Linear(7, 7, bias=False)


def test_a_tied_embedding_is_the_output_and_an_untied_one_is_not() -> None:
    model = HalfTied()
    untied = roles_of(model)
    assert (untied["embedding.weight"], untied["last.weight"]) == ("embedding", "output")
    model.logits.weight = model.embedding.weight
    tied = roles_of(model)
    assert "logits.weight" not in tied
    assert tied == {
        "embedding.weight": "output",
        "position.weight": "embedding",
        "first.weight": "hidden",
        "last.weight": "hidden",
    }


class WithAccessor(nn.Module):
    def __init__(self, output: nn.Module | None) -> None:
        super().__init__()
        self.chosen = nn.Linear(4, 3)
        self.last = nn.Linear(4, 4)
        self._found = [output if output is not None else self.chosen]

    def get_output_embeddings(self) -> nn.Module:
        return self._found[0]


def test_the_models_own_accessor_decides() -> None:
    assert [name for name, role in roles_of(WithAccessor(None)).items() if role == "output"] == ["chosen.weight"]


def test_a_model_without_matrices_has_no_output() -> None:
    assert roles_of(nn.LayerNorm(3)) == {"weight": "vector", "bias": "vector"}
    assert roles_of(nn.Embedding(3, 2)) == {"weight": "embedding"}
    assert roles_of(nn.EmbeddingBag(3, 2)) == {"weight": "embedding"}
    assert set(roles_of(nn.GRU(3, 2)).values()) == {"hidden", "vector"}


def output_names(model: nn.Module, output: Any) -> list[str]:
    return [name for name, role in roles_of(model, output).items() if role == "output"]


def test_the_output_as_a_module() -> None:
    model = mlp()
    assert output_names(model, model.get_submodule("3")) == ["3.weight"]
    assert output_names(model, nn.ModuleList([model.get_submodule("0"), model.get_submodule("3")])) == [
        "0.weight",
        "3.weight",
    ]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("3", ["3.weight"]),
        ("3.weight", ["3.weight"]),
        ("[03].*", ["0.weight", "3.weight"]),
        (["0", "5.w*"], ["0.weight", "5.weight"]),
        ((), []),
    ],
)
def test_the_output_as_patterns_of_modules_or_parameters(patterns: Any, names: list[str]) -> None:
    assert output_names(mlp(), patterns) == names


def test_the_output_by_either_name_of_a_tied_weight() -> None:
    model = HalfTied()
    model.logits.weight = model.embedding.weight
    assert output_names(model, "logits") == ["embedding.weight"]
    assert output_names(model, model.logits) == ["embedding.weight"]
    assert output_names(model, "last") == ["last.weight"]


def test_without_an_output_a_tied_weight_is_an_embedding() -> None:
    assert output_names(TiedGPT(), False) == []
    assert roles_of(TiedGPT(), False)["transformer.wte.weight"] == "embedding"


def test_an_output_kernel_is_an_output() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    assert roles_of(model, "1") == {"0.weight": "conv", "0.bias": "vector", "1.weight": "output", "1.bias": "vector"}


@pytest.mark.parametrize("output", ["7", ["5", "lm_haed"]])
def test_an_output_pattern_that_matches_nothing_is_an_error(output: Any) -> None:
    with pytest.raises(ValueError, match=r"output has pattern '(7|lm_haed)', which matches no parameter; .* nearest"):
        roles_of(mlp(), output)


def test_an_unmatched_pattern_names_the_nearest() -> None:
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    with pytest.raises(
        ValueError, match=r"overrides has pattern 'lm_haed\.weight'.*nearest names are \['lm_head\.weight'"
    ):
        require_match("lm_haed.weight", names, "overrides")
    with pytest.raises(ValueError, match=r"nearest names are \['model\.embed_tokens\.weight', 'model\.norm"):
        require_match("%", names, "overrides")


def test_only_an_output_pattern_may_name_a_module() -> None:
    names = ["lm_head.weight", "lm_head.bias"]
    assert require_match("lm_head", names, "output") == names
    with pytest.raises(ValueError, match="matches no parameter"):
        require_match("lm_head", names, "overrides")
    assert require_match("*.bias", names, "overrides") == ["lm_head.bias"]


def test_patterns_mind_upper_case() -> None:
    with pytest.raises(ValueError, match="matches no parameter"):
        require_match("LM_head.weight", ["lm_head.weight"], "overrides")


@pytest.mark.parametrize("build", [mlp, TiedGPT, gpt2, vit_classifier])
def test_looking_for_roles_changes_nothing(build: Callable[[], nn.Module]) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = [(name, p.requires_grad, p.grad) for name, p in model.named_parameters()]
    roles = roles_of(model)
    assert set(roles.values()) <= set(ROLES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [(name, p.requires_grad, p.grad) for name, p in model.named_parameters()] == attributes
