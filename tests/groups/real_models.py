"""Real model classes, built small from configurations."""

from collections.abc import Callable
from typing import Any

import peft
import transformers
from own_models import diffusion_unet
from torch import nn

from timm_models import timm_models

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT: dict[str, Any] = SMALL | {"vocab_size": 64} | {f"{token}_token_id": 0 for token in ("pad", "bos", "eos")}
GROUPED: dict[str, Any] = TEXT | {"num_key_value_heads": 2}
IMAGES: dict[str, Any] = {"image_size": 32, "patch_size": 8}
T5: dict[str, Any] = {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_heads": 4, "vocab_size": 64}
T5 |= {"num_layers": 2, "num_decoder_layers": 2}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}

REAL_MODELS: dict[str, Callable[[], nn.Module]] = {}


def real(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    REAL_MODELS[build.__name__] = build
    return build


@real
def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**TEXT))


@real
def bert_questions() -> nn.Module:
    return transformers.BertForQuestionAnswering(transformers.BertConfig(**TEXT))


@real
def bert_pretraining() -> nn.Module:
    return transformers.BertForPreTraining(transformers.BertConfig(**TEXT))


@real
def roberta_classes() -> nn.Module:
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**TEXT))


@real
def electra_classes() -> nn.Module:
    return transformers.ElectraForSequenceClassification(transformers.ElectraConfig(**TEXT, embedding_size=16))


@real
def electra_discriminator() -> nn.Module:
    return transformers.ElectraForPreTraining(transformers.ElectraConfig(**TEXT, embedding_size=16))


@real
def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED))


@real
def llama_classes() -> nn.Module:
    return transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**GROUPED))


@real
def qwen2_experts() -> nn.Module:
    sizes: dict[str, Any] = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 24}
    return transformers.Qwen2MoeForCausalLM(transformers.Qwen2MoeConfig(**GROUPED, **EXPERTS, **sizes))


@real
def mixtral() -> nn.Module:
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**GROUPED, head_dim=8, num_local_experts=4))


@real
def switch() -> nn.Module:
    sparse: dict[str, Any] = {"num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
    return transformers.SwitchTransformersForConditionalGeneration(
        transformers.SwitchTransformersConfig(**T5, **sparse)
    )


@real
def mamba() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64, "state_size": 4}
    return transformers.MambaForCausalLM(transformers.MambaConfig(**sizes))


@real
def t5() -> nn.Module:
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**T5))


@real
def vit() -> nn.Module:
    return transformers.ViTModel(transformers.ViTConfig(**SMALL, **IMAGES))


@real
def swin() -> nn.Module:
    sizes: dict[str, Any] = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "num_labels": 5}
    config = transformers.SwinConfig(image_size=32, patch_size=4, **sizes)
    return transformers.SwinForImageClassification(config)


@real
def clip() -> nn.Module:
    config: Any = transformers.CLIPConfig(text_config=TEXT, vision_config=SMALL | IMAGES, projection_dim=16)
    return transformers.CLIPModel(config)


@real
def whisper() -> nn.Module:
    layers = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 48))}
    heads = {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
    lengths = {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16, "vocab_size": 64}
    tokens = {f"{token}_token_id": 0 for token in ("pad", "bos", "eos", "decoder_start")}
    options: dict[str, Any] = layers | heads | lengths | tokens
    return transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(d_model=32, **options))


@real
def timm_vit() -> nn.Module:
    return timm_models().VisionTransformer(32, 8, embed_dim=32, depth=2, num_heads=4, num_classes=5)


@real
def timm_deit_distilled() -> nn.Module:
    return timm_models().VisionTransformerDistilled(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=5
    )


@real
def timm_vit_features() -> nn.Module:
    return timm_models().VisionTransformer(32, 8, embed_dim=32, depth=2, num_heads=4, num_classes=0)


@real
def timm_convnext() -> nn.Module:
    return timm_models().ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5)


@real
def timm_swin() -> nn.Module:
    sizes: dict[str, Any] = {"embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    return timm_models().SwinTransformer(img_size=32, patch_size=4, num_classes=5, **sizes)


@real
def timm_resnet() -> nn.Module:
    block = timm_models().resnet.BasicBlock
    return timm_models().ResNet(block, (1, 1, 1, 1), num_classes=5, channels=(8, 16, 16, 32))


@real
def lora_classes() -> nn.Module:
    config = peft.LoraConfig(task_type="SEQ_CLS", r=1, target_modules=["query", "dense"], exclude_modules="classifier")
    return peft_model(roberta_classes(), config)


@real
def lora_tokens() -> nn.Module:
    model = transformers.BertForTokenClassification(transformers.BertConfig(**TEXT))
    return peft_model(model, peft.LoraConfig(task_type="TOKEN_CLS", r=2, target_modules=["query"]))


@real
def lora_embeddings() -> nn.Module:
    return peft_model(llama(), peft.LoraConfig(r=1, target_modules=["embed_tokens", "q_proj", "lm_head"]))


@real
def dora_modules_to_save() -> nn.Module:
    saved = ["lm_head", "embed_tokens"]
    return peft_model(llama(), peft.LoraConfig(r=2, target_modules=["q_proj"], use_dora=True, modules_to_save=saved))


@real
def ia3() -> nn.Module:
    return peft_model(llama(), peft.IA3Config(task_type="CAUSAL_LM"))


@real
def prompt_tuning() -> nn.Module:
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**TEXT))
    return peft_model(model, peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4))


@real
def deberta_masked() -> nn.Module:
    """Its head multiplies by the embedding, and it answers that the layer before is its output."""
    return transformers.DebertaV2ForMaskedLM(transformers.DebertaV2Config(**TEXT, legacy=False))


@real
def convnext_v2() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_labels": 5}
    return transformers.ConvNextV2ForImageClassification(transformers.ConvNextV2Config(**sizes))


@real
def timm_levit() -> nn.Module:
    sizes: dict[str, Any] = {"embed_dim": (16, 16, 16), "key_dim": 8, "depth": (1, 1, 1), "num_heads": (2, 2, 2)}
    return timm_models().levit.LevitDistilled(img_size=128, num_classes=5, **sizes)


@real
def lora_unet() -> nn.Module:
    """PEFT keeps two copies of the convolution that is its output."""
    config = peft.LoraConfig(r=2, target_modules=["linear_1"], modules_to_save=["conv_out"])
    return peft_model(diffusion_unet(), config)


class Parametrized(nn.Module):
    """Weight, spectral and orthogonal normalisation, each as torch has it now and as it had it before."""

    def __init__(self) -> None:
        super().__init__()
        now, before = nn.utils.parametrizations, nn.utils
        self.conv1d = now.weight_norm(nn.Conv1d(3, 4, 3))
        self.conv2d = now.spectral_norm(nn.Conv2d(4, 4, 3))
        self.transposed = now.weight_norm(nn.ConvTranspose1d(4, 5, 3), dim=1)
        self.table = now.spectral_norm(nn.Embedding(5, 4))
        self.rotation = now.orthogonal(nn.Linear(4, 4))
        self.linear = now.weight_norm(nn.Linear(1, 6))
        self.old_conv1d = before.weight_norm(nn.Conv1d(3, 4, 3))
        self.old_conv2d = before.spectral_norm(nn.Conv2d(3, 4, 3))
        self.old_linear = before.weight_norm(nn.Linear(1, 6))
        self.head = now.weight_norm(nn.Linear(6, 3))


@real
def parametrized() -> nn.Module:
    return Parametrized()


def peft_model(model: Any, config: peft.PeftConfig) -> nn.Module:
    return peft.get_peft_model(model, config)
