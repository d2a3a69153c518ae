"""Models as people write them by hand, small."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

OWN_MODELS: dict[str, Callable[[], nn.Module]] = {}


def own(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    OWN_MODELS[build.__name__] = build
    return build


class Model(nn.Module):
    """Modules and parameters by name."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def of_class(name: str, **members: Any) -> nn.Module:
    """A module of a class that a user has called so."""
    return type(name, (Model,), {})(**members)


def mlp(*sizes: int) -> nn.Sequential:
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def convolutions(*channels: int) -> nn.Sequential:
    layers = [(nn.Conv2d(*pair, 3), nn.BatchNorm2d(pair[1]), nn.ReLU()) for pair in pairwise(channels)]
    return nn.Sequential(*(layer for triple in layers for layer in triple))


def block(width: int = 16) -> nn.Module:
    """A pre-norm block of a transformer."""
    attention = Model(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width))
    return Model(norm1=nn.LayerNorm(width), attn=attention, norm2=nn.LayerNorm(width), mlp=mlp(width, 4 * width, width))


def blocks(width: int = 16) -> nn.ModuleList:
    return nn.ModuleList([block(width) for _ in range(2)])


# --- plain models: nothing to doubt ---


@own
def nano_gpt() -> nn.Module:
    inside = {"wte": nn.Embedding(50, 16), "wpe": nn.Embedding(8, 16), "h": blocks(), "ln_f": nn.LayerNorm(16)}
    return Model(transformer=nn.ModuleDict(inside), lm_head=nn.Linear(16, 50, bias=False))


@own
def resnet() -> nn.Module:
    def residual(columns: int, rows: int) -> nn.Module:
        first, second = nn.Conv2d(columns, rows, 3), nn.Conv2d(rows, rows, 3)
        shortcut = nn.Sequential(nn.Conv2d(columns, rows, 1), nn.BatchNorm2d(rows))
        return Model(conv1=first, bn1=nn.BatchNorm2d(rows), conv2=second, bn2=nn.BatchNorm2d(rows), downsample=shortcut)

    stages = {f"layer{i + 1}": nn.Sequential(residual(8 << i, 16 << i), residual(16 << i, 16 << i)) for i in range(2)}
    return Model(conv1=nn.Conv2d(3, 8, 7), bn1=nn.BatchNorm2d(8), **stages, fc=nn.Linear(32, 10))


@own
def simple_vit() -> nn.Module:
    patches = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 16), nn.LayerNorm(16))
    return Model(to_patch_embedding=patches, pos_embedding=parameter(1, 5, 16), blocks=blocks(), head=nn.Linear(16, 5))


@own
def lenet() -> nn.Module:
    convs = {"conv1": nn.Conv2d(1, 6, 5), "conv2": nn.Conv2d(6, 16, 5)}
    return Model(**convs, fc1=nn.Linear(400, 120), fc2=nn.Linear(120, 84), fc3=nn.Linear(84, 10))


# --- convolutions ---


@own
def grn() -> nn.Module:
    """ConvNeXt V2: gains in a class whose name contains Conv."""
    gains = of_class("ConvNextV2GRN", weight=parameter(1, 1, 1, 64), bias=parameter(1, 1, 1, 64))
    inside = Model(dwconv=nn.Conv2d(16, 16, 7, groups=16), pwconv1=nn.Linear(16, 64), grn=gains)
    inside.pwconv2 = nn.Linear(64, 16)
    return Model(stem=nn.Conv2d(3, 16, 4), stages=nn.ModuleList([inside]), head=nn.Linear(16, 5))


@own
def graph_relations() -> nn.Module:
    """As torch_geometric's RGCNConv: a matrix for each relation, which is no kernel."""

    def conv(columns: int, rows: int) -> nn.Module:
        return of_class("RGCNConv", weight=parameter(4, columns, rows), root=parameter(columns, rows))

    return Model(conv1=conv(24, 32), conv2=conv(32, 32), lin=nn.Linear(32, 5))


@own
def own_conv1d() -> nn.Module:
    """As old audio code writes a convolution of its own."""
    return Model(
        conv=of_class("CausalConv1d", weight=parameter(8, 4, 3)),
        deform=of_class("DeformConv", weight=parameter(8, 8, 3, 3)),
        short=of_class("ShortConv", weight=parameter(32, 1, 4)),
        fc=nn.Linear(32, 4),
    )


@own
def graph_attention() -> nn.Module:
    conv = of_class("GATConv", lin=nn.Linear(12, 16, bias=False), att_src=parameter(1, 2, 8), bias=parameter(16))
    return Model(conv1=conv, conv2=of_class("GCNConv", weight=parameter(16, 5), bias=parameter(5)))


# --- output modules that torch does not know ---


def dense(columns: int, rows: int, name: str = "w") -> nn.Module:
    return of_class("Dense", **{name: parameter(columns, rows)}, b=parameter(rows))


@own
def own_dense() -> nn.Module:
    return Model(layer1=dense(20, 16), layer2=dense(16, 16), classifier=dense(16, 5))


@own
def own_dense_unnamed() -> nn.Module:
    return Model(layer1=dense(20, 16, "kernel"), layer2=dense(16, 16, "kernel"), layer3=dense(16, 5, "kernel"))


@own
def arcface() -> nn.Module:
    backbone = Model(features=convolutions(3, 8, 16), embedding=nn.Linear(16, 12))
    return Model(backbone=backbone, margin=of_class("ArcMarginProduct", weight=parameter(7, 12)))


@own
def cosface() -> nn.Module:
    return Model(backbone=mlp(20, 16, 12), head=of_class("CosFace", kernel=parameter(12, 7)))


@own
def normalised_linear() -> nn.Module:
    return Model(body=mlp(20, 16, 16), top=of_class("NormedLinear", weight=parameter(16, 7)))


# --- models of bare parameters ---


def lens_block() -> nn.Module:
    heads = {f"W_{x}": parameter(2, 16, 8) for x in "QKV"} | {"W_O": parameter(2, 8, 16)}
    biases = {f"b_{x}": parameter(2, 8) for x in "QKV"} | {"b_O": parameter(16)}
    inner = Model(W_in=parameter(16, 64), W_out=parameter(64, 16), b_in=parameter(64), b_out=parameter(16))
    return Model(attn=Model(**heads, **biases), mlp=inner, ln1=of_class("LayerNorm", w=parameter(16), b=parameter(16)))


@own
def transformer_lens() -> nn.Module:
    return Model(
        embed=of_class("Embed", W_E=parameter(50, 16)),
        pos_embed=of_class("PosEmbed", W_pos=parameter(8, 16)),
        blocks=nn.ModuleList([lens_block() for _ in range(2)]),
        unembed=of_class("Unembed", W_U=parameter(16, 50), b_U=parameter(50)),
    )


@own
def bare_at_the_top() -> nn.Module:
    return Model(W_E=parameter(50, 16), unembed=parameter(16, 50), blocks=nn.ModuleList([lens_block()]))


@own
def bare_without_names() -> nn.Module:
    return Model(w1=parameter(20, 16), b1=parameter(16), w2=parameter(16, 5), b2=parameter(5))


@own
def bare_body() -> nn.Module:
    """No output is to be seen at all."""
    return Model(wte=parameter(50, 16), blocks=nn.ModuleList([lens_block() for _ in range(2)]))


@own
def recurrent() -> nn.Module:
    return Model(emb=nn.Embedding(50, 16), rnn=nn.LSTM(16, 16))


# --- a weight norm of one's own ---


class MagnitudeAndDirection(nn.Module):
    def forward(self, magnitude: Tensor, direction: Tensor) -> Tensor:
        return magnitude * direction / direction.norm(dim=1, keepdim=True)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight.norm(dim=1, keepdim=True), weight


class DirectionAndMagnitude(nn.Module):
    def forward(self, direction: Tensor, magnitude: Tensor) -> Tensor:
        return magnitude * direction

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight, torch.ones(1, *weight.shape[1:])


class Factors(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight[:, :1].clone(), weight[:1].clone()


@own
def own_weight_norm() -> nn.Module:
    model = Model(conv=nn.Conv2d(3, 16, 3), fc1=nn.Linear(16, 16), low=nn.Linear(16, 12), head=nn.Linear(12, 5))
    for name, way in (("conv", DirectionAndMagnitude()), ("fc1", MagnitudeAndDirection()), ("low", Factors())):
        parametrize.register_parametrization(model.get_submodule(name), "weight", way)
    parametrize.register_parametrization(model.get_submodule("head"), "weight", MagnitudeAndDirection())
    return model


# --- fully convolutional ---


@own
def unet() -> nn.Module:
    return Model(
        inc=convolutions(3, 8, 8),
        down=convolutions(8, 16, 16),
        up=nn.ConvTranspose2d(16, 8, 2, stride=2),
        conv=convolutions(16, 8, 8),
        outc=Model(conv=nn.Conv2d(8, 2, 1)),
    )


@own
def fcn() -> nn.Module:
    return Model(features=convolutions(3, 8, 16), scores=nn.Conv2d(16, 5, 1), upscore=nn.ConvTranspose2d(5, 5, 4))


@own
def super_resolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 9), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 5))


@own
def convolutional_trunk() -> nn.Module:
    """Only features: what ends in a norm is no output."""
    return convolutions(3, 8, 16)


@own
def diffusion_unet() -> nn.Module:
    """As diffusers': a Linear for the time, and a convolution last."""
    time = Model(linear_1=nn.Linear(8, 32), linear_2=nn.Linear(32, 32))
    resnet = Model(norm1=nn.GroupNorm(2, 8), conv1=nn.Conv2d(8, 8, 3), time_emb_proj=nn.Linear(32, 8))
    down = nn.ModuleList([Model(resnets=nn.ModuleList([resnet]))])
    parts = {"conv_in": nn.Conv2d(4, 8, 3), "time_embedding": time, "down_blocks": down}
    return Model(**parts, conv_norm_out=nn.GroupNorm(2, 8), conv_out=nn.Conv2d(8, 4, 3))


@own
def vocoder() -> nn.Module:
    """As HiFi-GAN's generator."""
    ups = nn.ModuleList([nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(16, 8, 4))])
    return Model(conv_pre=nn.Conv1d(8, 16, 7), ups=ups, conv_post=nn.Conv1d(8, 1, 7))


@own
def discriminator() -> nn.Module:
    return Model(main=nn.Sequential(*convolutions(3, 8, 16), nn.Conv2d(16, 1, 4)))


# --- second heads ---


@own
def actor_and_critic() -> nn.Module:
    return Model(actor=mlp(4, 32, 32, 2), critic=mlp(4, 32, 32, 1), log_std=parameter(2))


@own
def two_towers() -> nn.Module:
    tables = {"user_table": nn.Embedding(9, 16), "item_table": nn.Embedding(7, 16)}
    return Model(**tables, user_tower=mlp(16, 32, 12), item_tower=mlp(16, 24, 12))


@own
def nerf() -> nn.Module:
    return Model(
        pts_linears=nn.ModuleList([nn.Linear(63, 64), nn.Linear(64, 64)]),
        views_linears=nn.ModuleList([nn.Linear(91, 32)]),
        feature_linear=nn.Linear(64, 64),
        alpha_linear=nn.Linear(64, 1),
        rgb_linear=nn.Linear(32, 3),
    )


@own
def adaptive_softmax() -> nn.Module:
    criterion = nn.AdaptiveLogSoftmaxWithLoss(16, 100, [10, 40])
    return Model(emb=nn.Embedding(100, 16), rnn=nn.LSTM(16, 16), crit=criterion)


@own
def diffusion_transformer() -> nn.Module:
    def modulated() -> nn.Module:
        made = block()
        made.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(16, 96))
        return made

    final = Model(norm_final=nn.LayerNorm(16, elementwise_affine=False), linear=nn.Linear(16, 12))
    final.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(16, 32))
    return Model(
        x_embedder=Model(proj=nn.Conv2d(3, 16, 2)),
        t_embedder=Model(mlp=mlp(24, 16, 16)),
        y_embedder=Model(embedding_table=nn.Embedding(11, 16)),
        blocks=nn.ModuleList([modulated() for _ in range(2)]),
        final_layer=final,
    )


@own
def tasks_side_by_side() -> nn.Module:
    tasks = nn.ModuleList([mlp(32, 16, 1), mlp(32, 16, 3)])
    return Model(shared=mlp(20, 32, 32), tasks=tasks)


@own
def head_and_reward() -> nn.Module:
    return Model(wte=nn.Embedding(50, 16), blocks=blocks(), lm_head=nn.Linear(16, 50), reward=nn.Linear(16, 1))


@own
def dueling() -> nn.Module:
    return Model(features=mlp(4, 32, 32), value_stream=mlp(32, 16, 1), advantage_stream=mlp(32, 16, 6))


@own
def autoencoder() -> nn.Module:
    parts = {"encoder": mlp(60, 32), "fc_mu": nn.Linear(32, 4), "fc_logvar": nn.Linear(32, 4)}
    return Model(**parts, decoder=mlp(4, 32, 60))


# --- routers ---


def expert() -> nn.Module:
    return Model(w1=nn.Linear(16, 32), w2=nn.Linear(32, 16))


def experts() -> nn.ModuleList:
    return nn.ModuleList([expert() for _ in range(4)])


def mixture(name: str, router: nn.Module, what: str = "experts") -> nn.Module:
    inside = Model(
        attn=Model(qkv=nn.Linear(16, 48), proj=nn.Linear(16, 16)), moe=Model(**{name: router, what: experts()})
    )
    return Model(wte=nn.Embedding(50, 16), blocks=nn.ModuleList([inside]), lm_head=nn.Linear(16, 50))


@own
def switch_named() -> nn.Module:
    return mixture("switch", nn.Linear(16, 4))


@own
def expert_selector() -> nn.Module:
    return mixture("expert_selector", nn.Linear(16, 4))


@own
def gate_proj_of_experts() -> nn.Module:
    return mixture("gate_proj", nn.Linear(16, 4, bias=False))


@own
def unnamed_router() -> nn.Module:
    return mixture("assign", nn.Linear(16, 4))


@own
def gate_beside_networks() -> nn.Module:
    return mixture("gate", nn.Linear(16, 4), what="ffns")


@own
def multi_gate() -> nn.Module:
    gates = nn.ModuleList([nn.Linear(20, 4, bias=False) for _ in range(2)])
    nets = nn.ModuleList([mlp(20, 16, 8) for _ in range(4)])
    return Model(experts=nets, gates=gates, towers=nn.ModuleList([mlp(8, 6, 1) for _ in range(2)]))


@own
def gated_mlp() -> nn.Module:
    inside = Model(gate_proj=nn.Linear(16, 32), up_proj=nn.Linear(16, 32), down_proj=nn.Linear(32, 16))
    return Model(layers=nn.ModuleList([inside, inside]), lm_head=nn.Linear(16, 50))


# --- names that say less than they seem to ---


@own
def norm_former() -> nn.Module:
    model = of_class("NormFormer", W=parameter(20, 16), blocks=blocks())
    model.head = nn.Linear(16, 5)
    return model


@own
def classes_with_norm_in_their_name() -> nn.Module:
    names = ("NormFormer", "NormFreeNet", "PreNormGPT", "NormalizedMixer")
    members = {f"part{i}": of_class(name, weight=parameter(16, 16)) for i, name in enumerate(names)}
    gains = {
        f"norm{i}": of_class(name, weight=parameter(2, 8)) for i, name in enumerate(("RMSNorm", "LayerNorm2dFp32"))
    }
    return Model(**members, **gains, head=nn.Linear(16, 5))


@own
def adapter_of_ones_own() -> nn.Module:
    return Model(body=mlp(20, 16, 16), adapter=nn.Linear(16, 5))


@own
def adapter_in_front() -> nn.Module:
    return Model(adapter=mlp(20, 16), body=mlp(16, 16, 16), head=nn.Linear(16, 5))


@own
def bias_tables() -> nn.Module:
    tables = {
        "rel_pos_bias": parameter(4, 9),
        "relative_bias": parameter(4, 7, 7),
        "attention_biases": parameter(4, 49),
    }
    tables |= {"height_rel": parameter(13, 8), "relative_position_bias_table": parameter(49, 4)}
    vectors = {"pos_bias_u": parameter(4, 8), "b_Q": parameter(4, 8), "expert_bias": parameter(4, 8)}
    return Model(attn=Model(**tables, **vectors), head=nn.Linear(16, 5))


# --- further kinds of models ---


@own
def openai_clip() -> nn.Module:
    """Two projections that are bare parameters."""
    visual = Model(conv1=nn.Conv2d(3, 16, 4), class_embedding=parameter(16), positional_embedding=parameter(5, 16))
    visual.transformer, visual.proj = Model(resblocks=nn.Sequential(block(), block())), parameter(16, 12)
    text = {"token_embedding": nn.Embedding(50, 16), "positional_embedding": parameter(8, 16)}
    transformer = Model(resblocks=nn.Sequential(block(), block()))
    return Model(visual=visual, transformer=transformer, **text, text_projection=parameter(16, 12))


@own
def twin_critics() -> nn.Module:
    critics = {name: mlp(6, 32, 32, 1) for name in ("q1", "q2")}
    return Model(pi=Model(net=mlp(4, 32, 32), mu_layer=nn.Linear(32, 2), log_std_layer=nn.Linear(32, 2)), **critics)


@own
def recurrent_policy() -> nn.Module:
    return Model(encoder=mlp(10, 32), lstm=nn.LSTM(32, 32), pi=nn.Linear(32, 4), v=nn.Linear(32, 1))


@own
def tacotron() -> nn.Module:
    """Two outputs inside the decoder, then convolutions that mend the first."""
    norm = of_class("LinearNorm", linear_layer=nn.Linear(32, 20))
    gate = of_class("LinearNorm", linear_layer=nn.Linear(32, 1))
    decoder = Model(lstm=nn.LSTM(16, 32), linear_projection=norm, gate_layer=gate)
    postnet = [nn.Sequential(nn.Conv1d(*pair, 5), nn.BatchNorm1d(pair[1])) for pair in ((20, 16), (16, 20))]
    return Model(embedding=nn.Embedding(30, 16), decoder=decoder, postnet=Model(convolutions=nn.ModuleList(postnet)))


@own
def wavenet() -> nn.Module:
    parts = {name: nn.ModuleList([nn.Conv1d(16, 16, 2) for _ in range(3)]) for name in ("filter_convs", "gate_convs")}
    ends = {"end_conv_1": nn.Conv1d(24, 16, 1), "end_conv_2": nn.Conv1d(16, 50, 1)}
    return Model(start_conv=nn.Conv1d(50, 16, 1), **parts, skip_convs=nn.ModuleList([nn.Conv1d(16, 24, 1)]), **ends)


@own
def recommender() -> nn.Module:
    """As DLRM: a bottom MLP whose output meets the tables before the top MLP."""
    tables = nn.ModuleList([nn.EmbeddingBag(9, 16), nn.EmbeddingBag(7, 16)])
    return Model(emb_l=tables, bot_l=mlp(13, 32, 16), top_l=mlp(19, 32, 1))


@own
def factorization_machine() -> nn.Module:
    parts = {"linear": nn.Embedding(30, 1), "factors": nn.Embedding(30, 8)}
    return Model(**parts, deep=mlp(40, 32, 16), final=nn.Linear(16, 1))


@own
def vector_quantizer() -> nn.Module:
    encoder = Model(net=convolutions(3, 16, 16), pre=nn.Conv2d(16, 8, 1))
    decoder = Model(post=nn.Conv2d(8, 16, 1), net=nn.Sequential(nn.ConvTranspose2d(16, 16, 4), nn.ReLU()))
    decoder.to_rgb = nn.ConvTranspose2d(16, 3, 4)
    return Model(encoder=encoder, codebook=parameter(32, 8), decoder=decoder)


@own
def spline_network() -> nn.Module:
    """As efficient-kan's: a matrix and a stack of splines in one layer."""

    def layer(columns: int, rows: int) -> nn.Module:
        return of_class(
            "KANLinear",
            base_weight=parameter(rows, columns),
            spline_weight=parameter(rows, columns, 8),
            spline_scaler=parameter(rows, columns),
        )

    return Model(layers=nn.ModuleList([layer(20, 16), layer(16, 5)]))


@own
def single_shot_detector() -> nn.Module:
    sides = {
        name: nn.ModuleList([nn.Conv2d(16, out, 3), nn.Conv2d(32, out, 3)]) for name, out in (("loc", 16), ("conf", 84))
    }
    return Model(vgg=convolutions(3, 16, 16), extras=convolutions(16, 32), **sides)


@own
def several_tokens_ahead() -> nn.Module:
    heads = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 50, bias=False)) for _ in range(2)])
    return Model(wte=nn.Embedding(50, 16), layers=blocks(), lm_head=nn.Linear(16, 50), medusa_head=heads)


@own
def head_by_function() -> nn.Module:
    """The head is `x @ wte.weight.T`, which no module shows."""
    return Model(wte=nn.Embedding(50, 16), blocks=blocks(), ln_f=nn.LayerNorm(16))


@own
def grouped_query_block() -> nn.Module:
    attention = {"wq": nn.Linear(32, 32), "wk": nn.Linear(32, 8), "wv": nn.Linear(32, 8), "wo": nn.Linear(32, 32)}
    return Model(tok_embeddings=nn.Embedding(50, 32), attention=Model(**attention), output=nn.Linear(32, 50))


@own
def physics_network() -> nn.Module:
    layers = nn.ModuleList([nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 1)])
    return Model(layers=layers, scale=parameter(1))


@own
def wide_resnet() -> nn.Module:
    return Model(
        conv1=nn.Conv2d(3, 16, 3), block1=convolutions(16, 32), bn1=nn.BatchNorm2d(32), linear=nn.Linear(32, 10)
    )


@own
def mixture_of_stacks() -> nn.Module:
    inside = Model(route=parameter(16, 4), w1=parameter(4, 16, 32), w2=parameter(4, 32, 16))
    return Model(wte=nn.Embedding(50, 16), layers=nn.ModuleList([Model(moe=inside)]), lm_head=nn.Linear(16, 50))


@own
def mixture_of_experts_in_a_dict() -> nn.Module:
    experts = nn.ModuleDict({f"e{i}": expert() for i in range(4)})
    return Model(layers=nn.ModuleList([Model(experts=experts, chooser=nn.Linear(16, 4))]), lm_head=nn.Linear(16, 50))


@own
def mixture_density() -> nn.Module:
    return Model(hidden=mlp(4, 32, 32), z_pi=nn.Linear(32, 5), z_mu=nn.Linear(32, 10), z_sigma=nn.Linear(32, 10))


@own
def gan() -> nn.Module:
    generator = nn.Sequential(
        nn.ConvTranspose2d(20, 16, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4)
    )
    return Model(generator=generator, discriminator=nn.Sequential(*convolutions(3, 16), nn.Conv2d(16, 1, 4)))


@own
def contrastive_learner() -> nn.Module:
    trunk = Model(conv1=nn.Conv2d(3, 16, 3), bn1=nn.BatchNorm2d(16), fc=nn.Identity())
    projector = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 12))
    return Model(encoder=trunk, projector=projector)


@own
def bilinear_scorer() -> nn.Module:
    return Model(left=mlp(20, 16), right=mlp(24, 16), scorer=nn.Bilinear(16, 16, 1))


@own
def own_low_rank() -> nn.Module:
    def adapted(columns: int, rows: int) -> nn.Module:
        parts = {"linear": nn.Linear(columns, rows), "lora_a": parameter(2, columns), "lora_b": parameter(rows, 2)}
        return of_class("LoRALinear", **parts)

    return Model(up=adapted(16, 32), down=adapted(32, 16), head=adapted(16, 5))


@own
def detector_at_two_scales() -> nn.Module:
    return Model(
        vgg=nn.ModuleList([nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)]),
        extras=nn.ModuleList([nn.Conv2d(32, 16, 1), nn.Conv2d(16, 64, 3)]),
        loc=nn.ModuleList([nn.Conv2d(32, 16, 3), nn.Conv2d(64, 24, 3)]),
        conf=nn.ModuleList([nn.Conv2d(32, 84, 3), nn.Conv2d(64, 126, 3)]),
    )


@own
def detector_with_heads() -> nn.Module:
    classes = Model(module_list=nn.ModuleList([nn.Conv2d(32, 84, 3), nn.Conv2d(64, 126, 3)]))
    boxes = Model(module_list=nn.ModuleList([nn.Conv2d(32, 16, 3), nn.Conv2d(64, 24, 3)]))
    backbone = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3))
    return Model(backbone=backbone, head=Model(classification_head=classes, regression_head=boxes))


@own
def xlnet_attention() -> nn.Module:
    parts = {name: parameter(32, 4, 8) for name in ("q", "o", "r_kernel")}
    attention = Model(**parts, W_Q=parameter(4, 32, 8), relative_position_bias_table=parameter(225, 1))
    return Model(emb=nn.Embedding(64, 32), attention=attention, lm_head=nn.Linear(32, 64))


@own
def rotating_adapter() -> nn.Module:
    adapted = of_class("Adapted", linear=nn.Linear(32, 32), boft_R=nn.ParameterDict({"default": parameter(1, 8, 4, 4)}))
    return Model(layer=adapted, head=nn.Linear(32, 5))
