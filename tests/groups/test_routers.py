"""What routes to experts, in the layouts of real packages and of people's own code."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, GptOssConfig, GptOssForCausalLM

import steadydecay as sd
from steadydecay.groups.roles import found_roles, roles_of
from steadydecay.groups.settings import decay_of


class Model(nn.Module):
    """Modules and parameters by name."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


class TopKGate(nn.Module):
    """As DeepSpeed's."""

    def __init__(self) -> None:
        super().__init__()
        self.wg = nn.Linear(8, 4, bias=False)


class MyRouter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = matrix(4, 8)


def matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def expert() -> nn.Module:
    return Model(gate=nn.Linear(8, 16), up=nn.Linear(8, 16), down=nn.Linear(16, 8))


def experts() -> nn.ModuleList:
    return nn.ModuleList([expert() for _ in range(4)])


def tokens() -> dict[str, Any]:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 32}
    return sizes | {"num_attention_heads": 2, "num_key_value_heads": 2}


def deepseek() -> nn.Module:
    sizes: dict[str, Any] = {
        "moe_intermediate_size": 8,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_tok": 2,
    }
    ranks: dict[str, Any] = {
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 8,
    }
    return DeepseekV3ForCausalLM(DeepseekV3Config(**tokens(), **sizes, **ranks, first_k_dense_replace=1))


def gpt_oss() -> nn.Module:
    return GptOssForCausalLM(GptOssConfig(**tokens(), head_dim=8, num_local_experts=4))


CASES: dict[str, tuple[nn.Module, set[str]]] = {
    "DeepSeek-V3": (deepseek(), {"model.layers.1.mlp.gate.weight"}),
    "gpt-oss": (gpt_oss(), {f"model.layers.{layer}.mlp.router.weight" for layer in (0, 1)}),
    "DeepSpeed": (
        Model(deepspeed_moe=Model(gate=TopKGate(), experts=Model(deepspeed_experts=experts()))),
        {"deepspeed_moe.gate.wg.weight"},
    ),
    "gate beside experts": (Model(moe=Model(gate=nn.Linear(8, 4), experts=experts())), {"moe.gate.weight"}),
    "noisy gates": (
        Model(moe=Model(w_gate=matrix(8, 4), w_noise=matrix(8, 4), experts=experts())),
        {"moe.w_gate", "moe.w_noise"},
    ),
    "router of two layers": (
        Model(moe=Model(router=nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), experts=Model(w=matrix(4, 8, 8)))),
        {"moe.router.0.weight", "moe.router.1.weight"},
    ),
    "a router's class": (Model(choice=MyRouter(), body=nn.Linear(8, 8)), {"choice.scores"}),
    "mixture of depths": (Model(block=Model(router=nn.Linear(8, 1), up=nn.Linear(8, 8))), {"block.router.weight"}),
    "one shared expert's gate": (
        Model(moe=Model(shared_expert=expert(), shared_expert_gate=nn.Linear(8, 1), router=nn.Linear(8, 4))),
        {"moe.shared_expert_gate.weight", "moe.router.weight"},
    ),
    "a gated layer without experts": (Model(mlp=expert()), set()),
    "a gate for each head of attention": (Model(attn=Model(w_q=matrix(4, 8, 8), gate=nn.Linear(8, 4))), set()),
    "a layer as wide as there are experts, but not beside them": (
        Model(moe=Model(router=nn.Linear(8, 4), experts=experts()), up=nn.Linear(8, 4)),
        {"moe.router.weight"},
    ),
    "a switch without experts": (Model(block=Model(switch=nn.Linear(8, 8), up=nn.Linear(8, 8))), set()),
    "a router of bare parameters": (
        Model(moe_layer=Model(gate=matrix(8, 4), w1=matrix(4, 8, 16), w2=matrix(4, 16, 8))),
        {"moe_layer.gate"},
    ),
    "a gate of many matrices beside experts": (Model(moe=Model(gate=matrix(4, 8, 16), expert_bias=matrix(4))), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_routers(case: str) -> None:
    model, routers = CASES[case]
    for prefix, wrapped in (("", model), ("module.", nn.DataParallel(model))):
        roles = roles_of(wrapped)
        assert {name.removeprefix(prefix) for name, role in roles.items() if role == "router"} == routers


def test_a_router_that_no_name_tells_is_doubted() -> None:
    """The number of its rows alone says so, or the number of the modules beside a gate."""
    by_rows = found_roles(Model(moe=Model(assign=nn.Linear(8, 4), experts=experts())))["moe.assign.weight"]
    assert by_rows.role == "router"
    assert by_rows.doubt.startswith("because it has one row for each of the 4 experts beside it; pass overrides=")
    beside = found_roles(Model(block=Model(gate=nn.Linear(8, 4), networks=experts())))["block.gate.weight"]
    assert beside.role == "router"
    assert beside.doubt.startswith("because it has one row for each of the 4 modules beside it; pass overrides=")


def test_a_router_called_like_an_output_is_none() -> None:
    model = Model(moe=Model(router=Model(classifier=nn.Linear(8, 4)), experts=experts()), top=nn.Linear(8, 3))
    roles = roles_of(model)
    assert (roles["moe.router.classifier.weight"], roles["top.weight"]) == ("router", "output")


def test_a_routers_bias_is_a_vector() -> None:
    assert roles_of(Model(moe=Model(gate=nn.Linear(8, 4), experts=experts())))["moe.gate.bias"] == "vector"


def test_a_routers_decay_is_corrected_unless_one_says_otherwise() -> None:
    model = Model(moe=Model(gate=nn.Linear(8, 4, bias=False), experts=experts()), head=nn.Linear(8, 3, bias=False))
    kept = {"*.gate.weight": {"decay": "constant"}}
    for overrides, share in (({}, 0.25), (kept, 0.5)):
        optimizer = sd.ScionC(sd.param_groups(model, lr=0.1, weight_decay=0.2, overrides=overrides), lr=1.0)
        (group,) = (group for group in optimizer.param_groups if "moe.gate.weight" in group["param_names"])
        group["lr"] /= 2
        # η follows lr² where it is corrected, lr where it is constant.
        assert decay_of(group) == pytest.approx(share * 0.1 * 0.2)
