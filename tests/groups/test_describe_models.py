"""What `describe` says of real model classes, read once by a person and kept."""

# The text is kept as it is printed.
# ruff: noqa: E501

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
import transformers
from real_models import REAL_MODELS
from torch import nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import steadydecay as sd
from steadydecay.groups.places import places_of

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
    groups = sd.param_groups(model, lr=0.1)
    lines = sd.describe(groups).splitlines()[: len(groups) + 1]
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
hidden | spectral | as optimizer | 10 | 10,240 | model.layers.*.self_attn.q_proj.weight model.layers.*.self_attn.k_proj.weight model.layers.*.self_attn.v_proj.weight model.layers.*.self_attn.o_proj.weight model.layers.*.mlp.experts.down_proj
hidden | spectral(split_sizes=(16, 16)) | as optimizer | 2 | 8,192 | model.layers.*.mlp.experts.gate_up_proj
router | spectral | as optimizer | 2 | 256 | model.layers.*.mlp.gate.weight
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


# --- roles of many classes, bare and wrapped ---


def of_part(part: str, roles: str) -> str:
    """The same table for a model that holds the other as `part`."""
    return re.sub(r"(?<=[: ])(?=[a-z])", f"{part}.", roles).replace(f"{part}.not decayed", "not decayed")


# Role by role, {a,b} for either; vectors only where they have several axes. Written from reading the models.
BERT = """
embedding: embeddings.{word,position,token_type}_embeddings.weight
hidden: encoder.layer.*.attention.self.{query,key,value}.weight encoder.layer.*.attention.output.dense.weight
hidden: encoder.layer.*.intermediate.dense.weight encoder.layer.*.output.dense.weight
"""
LLAMA = """
embedding: model.embed_tokens.weight
hidden: model.layers.*.self_attn.{q,k,v,o}_proj.weight model.layers.*.mlp.{gate,up,down}_proj.weight
"""
EXPERTS = """
embedding: model.embed_tokens.weight
hidden: model.layers.*.self_attn.{q,k,v,o}_proj.weight model.layers.*.mlp.experts.{gate_up,down}_proj
router: model.layers.*.mlp.gate.weight
output: lm_head.weight
"""
T5 = """
output: shared.weight
hidden: encoder.block.*.layer.*.SelfAttention.{q,k,v,o}.weight
hidden: decoder.block.*.layer.*.{Self,EncDec}Attention.{q,k,v,o}.weight
embedding: {en,de}coder.block.*.layer.*.SelfAttention.relative_attention_bias.weight
"""
TIMM_VIT = """
embedding, not decayed: pos_embed
vector, not decayed: cls_token
conv: patch_embed.proj.weight
hidden: blocks.*.attn.{qkv,proj}.weight blocks.*.mlp.fc{1,2}.weight
"""
ROLES_OF_REAL_MODELS = {
    "bert": BERT + "hidden: pooler.dense.weight",
    "bert_questions": of_part("bert", BERT) + "output: qa_outputs.weight",
    "bert_pretraining": of_part("bert", BERT).replace("bert.embeddings.{word,", "bert.embeddings.{")
    + "hidden: bert.pooler.dense.weight cls.predictions.transform.dense.weight cls.seq_relationship.weight\n"
    + "output: bert.embeddings.word_embeddings.weight",
    "roberta_classes": of_part("roberta", BERT) + "hidden: classifier.dense.weight\noutput: classifier.out_proj.weight",
    "electra_classes": of_part("electra", BERT)
    + "hidden: electra.embeddings_project.weight classifier.dense.weight\noutput: classifier.out_proj.weight",
    "electra_discriminator": of_part("electra", BERT)
    + "hidden: electra.embeddings_project.weight discriminator_predictions.dense.weight\n"
    + "output: discriminator_predictions.dense_prediction.weight",
    "llama": LLAMA + "output: lm_head.weight",
    "llama_classes": LLAMA + "output: score.weight",
    "qwen2_experts": EXPERTS
    + "hidden: model.layers.*.mlp.shared_expert.{gate,up,down}_proj.weight\n"
    + "router: model.layers.*.mlp.shared_expert_gate.weight",
    "mixtral": EXPERTS,
    "switch": T5
    + "hidden: {en,de}coder.block.*.layer.*.mlp.w{i,o}.weight\n"
    + "hidden: {en,de}coder.block.*.layer.*.mlp.experts.expert_{0,1}.w{i,o}.weight\n"
    + "router: {en,de}coder.block.*.layer.*.mlp.router.classifier.weight",
    "mamba": """
        output: backbone.embeddings.weight
        vector, not decayed: backbone.layers.*.mixer.A_log
        conv: backbone.layers.*.mixer.conv1d.weight
        hidden: backbone.layers.*.mixer.{in,x,dt,out}_proj.weight""",
    "t5": T5 + "hidden: {en,de}coder.block.*.layer.*.DenseReluDense.w{i,o}.weight",
    "vit": """
        vector: embeddings.cls_token
        embedding: embeddings.position_embeddings
        conv: embeddings.patch_embeddings.projection.weight
        hidden: layers.*.attention.{q,k,v,o}_proj.weight layers.*.mlp.fc{1,2}.weight pooler.dense.weight""",
    "swin": """
        conv: swin.embeddings.patch_embeddings.projection.weight
        hidden: swin.encoder.layers.*.blocks.*.attention.{q,k,v,o}_proj.weight
        hidden: swin.encoder.layers.*.blocks.*.mlp.fc{1,2}.weight swin.encoder.layers.*.downsample.reduction.weight
        embedding: swin.encoder.layers.*.blocks.*.attention.relative_position_bias.relative_position_bias_table
        output: classifier.weight""",
    "clip": """
        embedding: text_model.embeddings.{token,position}_embedding.weight
        embedding: vision_model.embeddings.position_embedding.weight
        conv: vision_model.embeddings.patch_embedding.weight
        hidden: {text,vision}_model.encoder.layers.*.self_attn.{q,k,v,out}_proj.weight
        hidden: {text,vision}_model.encoder.layers.*.mlp.fc{1,2}.weight {text,visual}_projection.weight""",
    "whisper": """
        conv: model.encoder.conv{1,2}.weight
        embedding: model.decoder.embed_positions.weight
        hidden: model.encoder.layers.*.self_attn.{q,k,v,out}_proj.weight model.{en,de}coder.layers.*.fc{1,2}.weight
        hidden: model.decoder.layers.*.{self,encoder}_attn.{q,k,v,out}_proj.weight
        output: model.decoder.embed_tokens.weight""",
    "timm_vit": TIMM_VIT + "output: head.weight",
    "timm_deit_distilled": TIMM_VIT + "vector, not decayed: dist_token\noutput: head.weight head_dist.weight",
    "timm_vit_features": TIMM_VIT,
    "timm_convnext": """
        conv: stem.*.weight stages.*.blocks.*.conv_dw.weight stages.*.downsample.*.weight
        hidden: stages.*.blocks.*.mlp.fc{1,2}.weight
        output: head.fc.weight""",
    "timm_swin": """
        conv: patch_embed.proj.weight
        embedding, not decayed: layers.*.blocks.*.attn.relative_position_bias_table
        hidden: layers.*.blocks.*.attn.{qkv,proj}.weight layers.*.blocks.*.mlp.fc{1,2}.weight
        hidden: layers.*.downsample.reduction.weight
        output: head.fc.weight""",
    "timm_resnet": """
        conv: conv1.weight layer{1,2,3,4}.*.conv{1,2}.weight layer{1,2,3,4}.*.downsample.*.weight
        output: fc.weight""",
    "lora_classes": """
        hidden: roberta.encoder.layer.*.attention.self.query.lora_{A,B}.default.weight
        hidden: roberta.encoder.layer.*.attention.output.dense.lora_{A,B}.default.weight
        hidden: roberta.encoder.layer.*.{intermediate,output}.dense.lora_{A,B}.default.weight
        hidden: classifier.dense.weight
        output: classifier.out_proj.weight""",
    "lora_tokens": """
        hidden: bert.encoder.layer.*.attention.self.query.lora_{A,B}.default.weight
        output: classifier.weight""",
    "lora_embeddings": """
        hidden: model.embed_tokens.lora_embedding_{A,B}.default lm_head.lora_{A,B}.default.weight
        hidden: model.layers.*.self_attn.q_proj.lora_{A,B}.default.weight""",
    "dora_modules_to_save": """
        embedding: model.embed_tokens.weight
        hidden: model.layers.*.self_attn.q_proj.lora_{A,B}.default.weight
        output: lm_head.weight""",
    "ia3": "vector: model.layers.*.self_attn.{k,v}_proj.ia3_l.default model.layers.*.mlp.down_proj.ia3_l.default",
    "prompt_tuning": """
        embedding: prompt_encoder.default.embedding.weight
        output: base_model.classifier.weight""",
    "deberta_masked": of_part("deberta", BERT.replace(",token_type", "").replace("value}.", "value}_proj."))
    + "output: lm_predictions.lm_head.dense.weight",
    "convnext_v2": """
        conv: convnextv2.embeddings.patch_embeddings.weight convnextv2.encoder.stages.*.layers.*.dwconv.weight
        conv: convnextv2.encoder.stages.*.downsampling_layer.*.weight
        vector: convnextv2.encoder.stages.*.layers.*.grn.{weight,bias}
        hidden: convnextv2.encoder.stages.*.layers.*.pwconv{1,2}.weight
        output: classifier.weight""",
    "timm_levit": """
        conv: stem.conv{1,2,3,4}.linear.weight
        embedding, not decayed: stages.*.blocks.*.attn.attention_biases
        embedding, not decayed: stages.*.downsample.attn_downsample.attention_biases
        hidden: stages.*.blocks.*.attn.{qkv,proj.ln}.linear.weight stages.*.blocks.*.mlp.ln{1,2}.linear.weight
        hidden: stages.*.downsample.attn_downsample.{kv,q.ln,proj.ln}.linear.weight
        hidden: stages.*.downsample.mlp.ln{1,2}.linear.weight
        output: head.linear.weight head_dist.linear.weight""",
    "lora_unet": """
        hidden: time_embedding.linear_1.lora_{A,B}.default.weight
        output: conv_out.weight""",
    "parametrized": """
        conv: conv1d.weight conv2d.weight transposed.weight old_conv1d.weight old_conv2d.weight
        vector: conv1d.weight/magnitude transposed.weight/magnitude linear.weight/magnitude head.weight/magnitude
        vector: old_conv1d.weight/magnitude old_linear.weight/magnitude
        embedding: table.weight
        hidden: rotation.weight linear.weight old_linear.weight
        output: head.weight""",
}
LAST_LINEAR = "although it is the last Linear, because the model says that it has no output layer"
GUESSES = {
    "deberta_masked": "lm_predictions.lm_head.dense.weight: treated as 'output' because the model says so, "
    "although it writes 32 features and the vocabulary has 64",
    "bert": f"pooler.dense.weight: treated as 'hidden' {LAST_LINEAR}",
    "vit": f"pooler.dense.weight: treated as 'hidden' {LAST_LINEAR}",
    "clip": f"text_projection.weight: treated as 'hidden' {LAST_LINEAR}",
    # Its layers do not fit together.
    "parametrized": "transposed.weight, old_conv1d.weight, old_conv2d.weight: treated as 'conv' although it has an "
    "output's name or place, because head counts as the output",
    "bert_pretraining": "cls.seq_relationship.weight: treated as 'hidden' although it has an output's name or place, "
    "because cls.predictions.decoder counts as the output",
}


def expected_roles(table: str) -> dict[str, str]:
    """Role by name."""
    lines = (line.strip().split(": ") for line in table.strip().splitlines())
    return {name: role for role, names in lines for name in expanded(names)}


def expanded(names: str) -> Iterator[str]:
    for name in names.split():
        choices = [part.split(",") for part in re.split(r"[{}]", name)]
        yield from map("".join, itertools.product(*choices))


def roles_by_bare_name(model: nn.Module) -> dict[str, str]:
    """Role of each parameter in the bare model's names; vectors only where they have several axes."""
    places, found = {place.name: place for place in places_of(model)}, {}
    for group in sd.param_groups(model, lr=0.1, weight_decay=0.1):
        role = group["role"] if group["weight_decay"] else f"{group['role']}, not decayed"
        for name in group["param_names"]:
            place = places[name]
            bare = re.sub(r"(?<=\.)\d+(?=\.)", "*", place.plain_name) + "/magnitude" * place.is_magnitude
            if group["role"] != "vector" or len(place.shape) > 1:
                assert found.setdefault(bare, role) == role
    return found


def guesses(model: nn.Module) -> str:
    """What describe says below its table, in the bare model's names, without the remedy."""
    groups = sd.param_groups(model, lr=0.1, weight_decay=0.1)
    notes = sd.describe(groups).splitlines()[len(groups) + 1 :]
    bare = (re.sub(r"\b(module\.|_orig_mod\.)+", "", note) for note in notes if "not decayed" not in note)
    bare = (re.sub(r"parametrizations\.(\w+)\.original\d?|(weight)_(v|orig)\b", r"\1\2", note) for note in bare)
    return "\n".join(note.removesuffix("; pass output=... if that is wrong.") for note in bare)


@pytest.fixture(scope="module")
def one_rank() -> Iterator[None]:
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def sharded(model: nn.Module) -> nn.Module:
    """Under FSDP2, each layer of the outermost lists by itself; scalars, which it refuses, left out."""
    scalars = {parameter for parameter in model.parameters() if parameter.ndim == 0}
    mesh = init_device_mesh("cpu", (1,))
    lists = [path for path, module in model.named_modules() if isinstance(module, nn.ModuleList) and path]
    outermost = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    for path in outermost:
        for layer in model.get_submodule(path).children():
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=scalars)
    return model


def compiled(model: nn.Module) -> nn.Module:
    wrapped = torch.compile(model)
    assert isinstance(wrapped, nn.Module)
    return wrapped


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "bare": lambda model: model,
    "DataParallel": nn.DataParallel,
    "DDP": DistributedDataParallel,
    "compile": compiled,
    "DDP of compile": lambda model: DistributedDataParallel(compiled(model)),
    "FSDP2": sharded,
    "compile of FSDP2": lambda model: compiled(sharded(model)),
}


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", REAL_MODELS)
def test_roles_of_real_classes_bare_and_wrapped(name: str, wrapper: str) -> None:
    model = WRAPPERS[wrapper](REAL_MODELS[name]())
    assert roles_by_bare_name(model) == expected_roles(ROLES_OF_REAL_MODELS[name])
    assert guesses(model) == GUESSES.get(name, "")


def test_every_real_class_has_a_row() -> None:
    assert ROLES_OF_REAL_MODELS.keys() == REAL_MODELS.keys()
