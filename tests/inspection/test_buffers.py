"""Names of buffers and of the parameters that look like them, from models that people share; and real models."""

import re

import pytest
import torch
import transformers
from torch import nn

from steadydecay.inspection.buffers import buffers_among, is_blur, is_fixed, is_triangular_mask
from steadydecay.inspection.stored_weight import StoredWeight


def found(*weights: str | StoredWeight, others: tuple[str, ...] = ()) -> list[str]:
    named = [one if isinstance(one, StoredWeight) else StoredWeight(one, (8, 8), "float32") for one in weights]
    return [one.name for one in buffers_among(named, [*others, *(one.name for one in named)])]


BUFFERS = [
    # Masks: nanoGPT, minGPT, Swin, CLIP, pruning.
    *("blocks.0.attn.mask", "h.0.attn.masked_bias", "layers.0.blocks.1.attn_mask", "causal_mask", "0.weight_mask"),
    *("head.tril", "alibi_slopes"),
    # Rotary positions: Llama, its first release, gpt-fast, GPT-NeoX, xPos; positions of the tutorial and of SAM.
    *("model.layers.0.self_attn.rotary_emb.inv_freq", "rope.freqs", "freqs_cis", "rotary_emb.cos_cached", "model.sin"),
    *("rotary_pos_emb.scale", "pos_encoder.pe", "pe_layer.positional_encoding_gaussian_matrix", "k_cache"),
    # StyleGAN2 in two versions, antialiased networks, spectrograms.
    *("convs.0.conv.blur.kernel", "to_rgbs.0.upsample.kernel", "b8.conv1.resample_filter", "layer1.0.pool.filt"),
    *("spectrogram.window", "mel_scale.fb"),
    # GPTQ, bitsandbytes, LLM.int8, compressed-tensors, DeepSeek, torch.ao.
    *("q_proj.scales", "up.weight.absmax", "up.weight.nested_quant_map", "up.SCB", "up.weight_scale", "up.input_scale"),
    *(
        "kv_b_proj.weight_scale_inv",
        "fc.quant_scale",
        "fc.weight.scale",
        "fc.weight_absmax",
        "fc.input_amax",
        "conv.activation_post_process.min_val",
        "weight_fake_quant.scale",
    ),
    # Stable Diffusion, VQ-VAE, EMA codebooks, normalisation, spectral normalisation, experts.
    *("sqrt_one_minus_alphas_cumprod", "posterior_mean_coef1", "vq.cluster_size", "quantizer.codebook.embed_sum"),
    *("pixel_mean", "bn.running_var", "0.parametrizations.weight.0._u", "mlp.gate.e_score_correction_bias"),
    *("lpips.scaling_layer.shift",),
    # DINO, iBOT and centre losses; BCEWithLogitsLoss and CrossEntropyLoss within a model; MoCo and ALBEF; YOLOv5.
    *("center", "loss.center", "criterion.centers", "pos_weight", "loss.class_weights", "head.prototypes", "queue"),
    *("text_queue", "lemniscate.memory_bank", "model.24.anchors", "model.24.anchor_grid"),
    # NoisyNet, soft actor-critic, normalisers of observations, the tutorial's positions.
    *("fc.weight_epsilon", "fc.bias_epsilon", "actor.action_scale", "normalizer.obs_mean", "y_std", "pos.div_term"),
]
PARAMETERS = [
    # Layers of such names have weights.
    *(
        "prototypes.weight",
        "center.weight",
        "queue.proj.weight",
        "anchors.bias",
        "prototype_vectors",
        "class_weighting",
    ),
    *("logit_scale", "mask_token", "masked_spec_embed", "mask_embed.weight", "layer_scale", "ls1.gamma", "norm.scale"),
    *(
        "relative_position_bias_table",
        "rotary_attn.q_proj.weight",
        "rope.proj.weight",
        "mlp.up.kernel",
        "cosine.weight",
    ),
    *(
        "upsample.weight",
        "blur.conv.weight",
        "mean_pool.weight",
        "bias",
        "attn.bias",
        "pos_embed_window",
        "beta",
        "pos",
    ),
    *(
        "codebook.weight",
        "weight_g",
        "weight_v",
        "weight_orig",
        "filters.weight",
        "pos_embedding",
        "window_attn.weight",
    ),
    *("A_log", "dt_bias", "cls_token", "scale"),
]


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_is_known_by_its_name(name: str) -> None:
    assert found(name) == [name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_of_a_like_name_is_none(name: str) -> None:
    assert found(name) == []


def test_some_are_buffers_only_beside_others() -> None:
    assert found("sn.weight_u", "sn.weight_v", "sn.weight_orig") == ["sn.weight_u", "sn.weight_v"]
    assert found("wn.weight_g", "wn.weight_v") == []
    assert found("fc.scale", others=("fc.qweight",)) == ["fc.scale"]
    assert found("mean", "std") == ["mean", "std"] and found("mean") == []


def test_numbers_in_units_of_a_scale_are_no_weights() -> None:
    packed, bare = (StoredWeight(name, (8, 8), "float8_e4m3fn") for name in ("q.weight", "k.weight"))
    wide = StoredWeight("v.weight", (8, 8), "bfloat16")
    scales = ("q.weight_scale_inv", "v.weight_scale")
    assert found(packed, bare, wide, others=scales) == ["q.weight"]


def test_a_bias_of_four_dimensions_is_a_mask() -> None:
    mask, kernel, vector = ((1, 1, 16, 16), (4, 1, 16, 16), (1, 8, 1, 1))
    names = {
        name: StoredWeight(f"{name}.attn.bias", shape, "float32")
        for name, shape in zip("abc", (mask, kernel, vector), strict=True)
    }
    assert found(*names.values()) == ["a.attn.bias"]


CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "GPT-2": transformers.GPT2Config(n_layer=1),
    "GPT-NeoX": transformers.GPTNeoXConfig(num_hidden_layers=1),
    "Llama": transformers.LlamaConfig(num_hidden_layers=1),
    "BERT": transformers.BertConfig(num_hidden_layers=1),
    "Swin": transformers.SwinConfig(),
    "CLIP": transformers.CLIPConfig(),
    "ResNet": transformers.ResNetConfig(),
    "Mamba": transformers.MambaConfig(num_hidden_layers=1),
    "DeepSeek": transformers.DeepseekV3Config(num_hidden_layers=4),
    "wav2vec": transformers.Wav2Vec2Config(num_hidden_layers=1),
    "SAM 2": transformers.Sam2Config(),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_real_models_are_told_apart_as_they_are(name: str) -> None:
    with torch.device("meta"):
        model: nn.Module = transformers.AutoModel.from_config(CONFIGS[name])
    tensors = {key: one for key, one in model.state_dict().items() if one.is_floating_point()}
    weights = [StoredWeight(key, tuple(one.shape), "float32") for key, one in tensors.items()]
    parameters = {key for key, _ in model.named_parameters(remove_duplicate=False)}
    guessed = {one.name for one in buffers_among(weights, list(model.state_dict()))}
    assert guessed == tensors.keys() - parameters, re.sub(r"\d+", "*", str(guessed ^ (tensors.keys() - parameters)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_a_mask_is_known_by_its_values_under_any_name(dtype: torch.dtype) -> None:
    ones = torch.ones(1, 1, 5, 5).tril().to(dtype)
    assert is_triangular_mask(ones) and is_triangular_mask(ones[0, 0])
    infinite = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    assert is_triangular_mask(infinite.to(torch.bfloat16)) and is_triangular_mask(-1e9 * torch.ones(9, 9).triu(1))


WEIGHTS = {
    "zeros": torch.zeros(5, 5),
    "ones": torch.ones(5, 5),
    "an identity": torch.eye(5),
    "a random matrix": torch.randn(5, 5, generator=torch.Generator().manual_seed(0)),
    "its lower triangle": torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).tril(),
    "two masks": torch.ones(2, 5, 5).tril(),
    "a small one": torch.ones(2, 2).tril(),
    "an oblong": torch.ones(4, 5).tril(),
    "a vector": torch.ones(5),
    "a number": torch.tensor(1.0),
    "one changed entry": torch.ones(5, 5).tril().index_put((torch.tensor(3), torch.tensor(1)), torch.tensor(0.5)),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_weight_is_no_mask(case: str) -> None:
    assert not is_triangular_mask(WEIGHTS[case])


ROW = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTERS = {
    "StyleGAN2's": ROW.outer(ROW) / 64,
    "antialiased networks'": (ROW.outer(ROW) / 64).expand(16, 1, 4, 4),
    "one for one channel": torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0]))[None, None].bfloat16(),
    "a Laplacian": torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_filter_is_known_by_its_values_under_any_name(case: str) -> None:
    assert is_blur(FILTERS[case]) and is_fixed(FILTERS[case]) and not is_triangular_mask(FILTERS[case])


KERNELS = WEIGHTS | {
    "a depthwise kernel": torch.randn(16, 1, 3, 3, generator=torch.Generator().manual_seed(0)),
    "a kernel of several inputs": FILTERS["a Laplacian"].expand(16, 2, 3, 3),
    "filters that differ": torch.stack([FILTERS["a Laplacian"], 2 * FILTERS["a Laplacian"]])[:, None],
    "an untrained gain": torch.ones(16, 1, 3, 3),
    "a symmetric matrix": torch.tensor([[1.0, 2.0, 3.0], [2.0, 1.0, 2.0], [3.0, 2.0, 4.0]]),
    "stacked identities": torch.eye(4).expand(8, 4, 4),
}


@pytest.mark.parametrize("case", KERNELS)
def test_a_kernel_is_no_filter(case: str) -> None:
    assert not is_blur(KERNELS[case]) and not is_fixed(KERNELS[case])
