"""Roles of models as people write them by hand, bare and wrapped."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_models import OWN_MODELS, Model
from test_describe_models import expanded
from torch import nn

from steadydecay.groups.places import places_of
from steadydecay.groups.roles import found_roles

# Role by role, with "?" where describe shows a doubt; what is not named is "hidden" without one, and vectors are named
# only where they have several axes. Written from reading the models.
OWN_ROLES = {
    "nano_gpt": """
        embedding: transformer.wte.weight transformer.wpe.weight
        output: lm_head.weight
        """,
    "resnet": """
        conv: conv1.weight layer1.{0,1}.conv1.weight layer1.{0,1}.conv2.weight layer1.{0,1}.downsample.0.weight
        conv: layer2.{0,1}.conv1.weight layer2.{0,1}.conv2.weight layer2.{0,1}.downsample.0.weight
        output: fc.weight
        """,
    "simple_vit": """
        embedding: pos_embedding
        output: head.weight
        """,
    "lenet": """
        conv: conv1.weight conv2.weight
        output?: fc3.weight
        """,
    "grn": """
        conv: stem.weight stages.0.dwconv.weight
        vector: stages.0.grn.weight stages.0.grn.bias
        output: head.weight
        """,
    "graph_relations": """
        hidden?: conv1.weight conv1.root conv2.weight conv2.root
        output?: lin.weight
        """,
    "own_conv1d": """
        conv: conv.weight deform.weight short.weight
        output: fc.weight
        """,
    "graph_attention": """
        hidden?: conv1.att_src conv1.lin.weight
        output?: conv2.weight
        """,
    "own_dense": """
        output: classifier.w
        """,
    "own_dense_unnamed": """
        output?: layer3.kernel
        """,
    "arcface": """
        conv: backbone.features.{0,3}.weight
        output: margin.weight
        """,
    "cosface": """
        output: head.kernel
        """,
    "normalised_linear": """
        output?: top.weight
        """,
    "transformer_lens": """
        embedding: embed.W_E pos_embed.W_pos
        vector: blocks.{0,1}.attn.b_Q blocks.{0,1}.attn.b_K blocks.{0,1}.attn.b_V
        output: unembed.W_U
        """,
    "bare_at_the_top": """
        embedding: W_E
        output: unembed
        vector: blocks.0.attn.b_Q blocks.0.attn.b_K blocks.0.attn.b_V
        """,
    "bare_without_names": """
        output?: w2
        """,
    "bare_body": """
        embedding: wte
        vector: blocks.{0,1}.attn.b_Q blocks.{0,1}.attn.b_K blocks.{0,1}.attn.b_V
        hidden?: blocks.1.mlp.W_out
        """,
    "recurrent": """
        embedding: emb.weight
        hidden?: rnn.weight_hh_l0
        """,
    "own_weight_norm": """
        conv: conv.weight
        vector: conv.weight/magnitude fc1.weight/magnitude head.weight/magnitude
        output: head.weight
        """,
    "unet": """
        conv: inc.{0,3}.weight down.{0,3}.weight up.weight conv.{0,3}.weight
        output: outc.conv.weight
        """,
    "fcn": """
        conv: features.{0,3}.weight scores.weight
        output?: upscore.weight
        """,
    "super_resolution": """
        conv: {0,2}.weight
        output?: 4.weight
        """,
    "convolutional_trunk": """
        conv: 0.weight
        conv?: 3.weight
        """,
    "diffusion_unet": """
        conv: conv_in.weight down_blocks.0.resnets.0.conv1.weight
        output: conv_out.weight
        """,
    "vocoder": """
        conv: conv_pre.weight ups.0.weight
        vector: ups.0.weight/magnitude
        output: conv_post.weight
        """,
    "discriminator": """
        conv: {0,3}.weight
        output?: 6.weight
        """,
    "actor_and_critic": """
        output?: actor.4.weight critic.4.weight
        """,
    "two_towers": """
        embedding: user_table.weight item_table.weight
        hidden?: user_tower.2.weight
        output?: item_tower.2.weight
        """,
    "nerf": """
        output?: alpha_linear.weight rgb_linear.weight
        """,
    "adaptive_softmax": """
        embedding: emb.weight
        output: crit.head.weight crit.tail.{0,1}.1.weight
        """,
    "diffusion_transformer": """
        conv: x_embedder.proj.weight
        embedding: y_embedder.embedding_table.weight
        output: final_layer.linear.weight
        """,
    "tasks_side_by_side": """
        output?: tasks.{0,1}.2.weight
        """,
    "head_and_reward": """
        embedding: wte.weight
        output: lm_head.weight
        hidden?: reward.weight
        """,
    "dueling": """
        output?: value_stream.2.weight advantage_stream.2.weight
        """,
    "autoencoder": """
        output?: decoder.2.weight
        """,
    "switch_named": """
        embedding: wte.weight
        router: blocks.0.moe.switch.weight
        output: lm_head.weight
        """,
    "expert_selector": """
        embedding: wte.weight
        router: blocks.0.moe.expert_selector.weight
        output: lm_head.weight
        """,
    "gate_proj_of_experts": """
        embedding: wte.weight
        router?: blocks.0.moe.gate_proj.weight
        output: lm_head.weight
        """,
    "unnamed_router": """
        embedding: wte.weight
        router?: blocks.0.moe.assign.weight
        output: lm_head.weight
        """,
    "gate_beside_networks": """
        embedding: wte.weight
        router: blocks.0.moe.gate.weight
        output: lm_head.weight
        """,
    "multi_gate": """
        router: gates.{0,1}.weight
        output?: towers.{0,1}.2.weight
        """,
    "gated_mlp": """
        output: lm_head.weight
        """,
    "norm_former": """
        output: head.weight
        """,
    "classes_with_norm_in_their_name": """
        vector: norm0.weight norm1.weight
        output: head.weight
        """,
    "adapter_of_ones_own": """
        output?: adapter.weight
        """,
    "adapter_in_front": """
        output: head.weight
        """,
    "bias_tables": """
        embedding: attn.rel_pos_bias attn.relative_bias attn.attention_biases attn.height_rel
        embedding: attn.relative_position_bias_table
        vector: attn.pos_bias_u attn.b_Q attn.expert_bias
        output: head.weight
        """,
    "openai_clip": """
        embedding: positional_embedding visual.positional_embedding token_embedding.weight
        output?: text_projection
        hidden?: visual.proj
        conv: visual.conv1.weight
        """,
    "twin_critics": """
        output?: pi.mu_layer.weight pi.log_std_layer.weight q1.4.weight q2.4.weight
        """,
    "recurrent_policy": """
        output?: pi.weight v.weight
        """,
    "tacotron": """
        embedding: embedding.weight
        output?: decoder.linear_projection.linear_layer.weight decoder.gate_layer.linear_layer.weight
        conv: postnet.convolutions.0.0.weight
        conv?: postnet.convolutions.1.0.weight
        """,
    "wavenet": """
        conv: start_conv.weight filter_convs.{0,1,2}.weight gate_convs.{0,1,2}.weight skip_convs.0.weight
        conv: end_conv_1.weight
        output?: end_conv_2.weight
        """,
    "recommender": """
        embedding: emb_l.{0,1}.weight
        hidden?: bot_l.2.weight
        output?: top_l.2.weight
        """,
    "factorization_machine": """
        embedding: linear.weight factors.weight
        output?: final.weight
        """,
    "vector_quantizer": """
        embedding: codebook
        conv: encoder.net.{0,3}.weight encoder.pre.weight decoder.post.weight decoder.net.0.weight
        output?: decoder.to_rgb.weight
        """,
    "spline_network": """
        hidden?: layers.0.spline_scaler
        output?: layers.1.base_weight layers.1.spline_weight layers.1.spline_scaler
        """,
    "single_shot_detector": """
        conv: vgg.{0,3}.weight extras.0.weight loc.0.weight
        conv?: loc.1.weight
        output?: conf.{0,1}.weight
        """,
    "several_tokens_ahead": """
        embedding: wte.weight
        output: lm_head.weight medusa_head.{0,1}.1.weight
        """,
    "head_by_function": """
        embedding: wte.weight
        hidden?: blocks.1.mlp.2.weight
        """,
    "grouped_query_block": """
        embedding: tok_embeddings.weight
        output: output.weight
        """,
    "physics_network": """
        output?: layers.2.weight
        """,
    "wide_resnet": """
        conv: conv1.weight block1.0.weight
        output?: linear.weight
        """,
    "mixture_of_stacks": """
        embedding: wte.weight
        router: layers.0.moe.route
        output: lm_head.weight
        """,
    "mixture_of_experts_in_a_dict": """
        router?: layers.0.chooser.weight
        output: lm_head.weight
        """,
    "mixture_density": """
        output?: z_pi.weight z_mu.weight z_sigma.weight
        """,
    "gan": """
        conv: generator.0.weight discriminator.0.weight
        conv?: generator.3.weight
        output?: discriminator.3.weight
        """,
    "contrastive_learner": """
        conv: encoder.conv1.weight
        output?: projector.3.weight
        """,
    "bilinear_scorer": """
        output?: scorer.weight
        """,
    "own_low_rank": """
        output: head.linear.weight
        """,
    "detector_at_two_scales": """
        conv: vgg.{0,1}.weight extras.0.weight
        conv?: extras.1.weight
        output?: loc.{0,1}.weight conf.{0,1}.weight
        """,
    "detector_with_heads": """
        conv: backbone.{0,2}.weight
        output: head.classification_head.module_list.{0,1}.weight head.regression_head.module_list.{0,1}.weight
        """,
    "xlnet_attention": """
        hidden?: attention.q attention.o attention.r_kernel
        embedding: emb.weight attention.relative_position_bias_table
        output: lm_head.weight
        """,
    "rotating_adapter": """
        hidden?: layer.boft_R.default
        output: head.weight
        """,
}


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "bare": lambda model: model,
    "DataParallel": nn.DataParallel,
    "compile": torch.compile,
    "a module around it": lambda model: Model(module=model, loss=nn.CrossEntropyLoss()),
}


def told_roles(model: nn.Module) -> dict[str, str]:
    """Role by name in the bare model, with "?" after what is doubted; vectors only where they have several axes."""
    found, told = found_roles(model), {}
    for place in places_of(model):
        one = found.get(place.name)
        if one is not None and (one != ("vector", "") or len(place.shape) > 1):
            told[place.plain_name + "/magnitude" * place.is_magnitude] = one.role + "?" * bool(one.doubt)
    return told


@pytest.mark.parametrize("name", OWN_MODELS)
def test_roles_and_doubts_bare_and_wrapped(name: str) -> None:
    lines = (line.strip().split(": ") for line in OWN_ROLES[name].strip().splitlines())
    expected = {one: role for role, names in lines for one in expanded(names)}
    for wrapper, wrap in WRAPPERS.items():
        told = told_roles(wrap(OWN_MODELS[name]()))
        assert expected.keys() <= told.keys(), wrapper
        assert told == dict.fromkeys(told, "hidden") | expected, wrapper


def test_every_model_has_a_row() -> None:
    assert OWN_ROLES.keys() == OWN_MODELS.keys()
