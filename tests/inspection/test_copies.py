"""Copies of networks as students and teachers, online and target networks, and averages are saved."""

import pytest
from torch import nn

from steadydecay.inspection.copies import originals
from steadydecay.inspection.module_skeleton import guesses
from steadydecay.inspection.stored_weight import StoredWeight

NETWORK = {"embed.weight": (50, 8), "blocks.0.fc.weight": (8, 8), "blocks.1.fc.weight": (8, 8), "head.weight": (50, 8)}
PAIRS = [
    ("student", "teacher"),
    ("module.student.backbone", "module.teacher.backbone"),
    ("student_net", "teacher_net"),
    ("model", "model_ema"),
    ("ema", "net"),
    ("online_encoder", "target_encoder"),
    ("encoder_q", "encoder_k"),
    ("critic", "critic_target"),
    ("policy", "ref_model"),
    ("momentum_encoder", "encoder"),
]


def stored(*prefixes: str) -> list[StoredWeight]:
    return [StoredWeight(f"{one}.{name}", shape, "float32") for one in prefixes for name, shape in NETWORK.items()]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("in_model_order", [True, False])
def test_a_copy_has_the_roles_of_what_it_is_a_copy_of(pair: tuple[str, str], in_model_order: bool) -> None:
    alone = guesses([StoredWeight(name, shape, "float32") for name, shape in NETWORK.items()], in_model_order)
    found = guesses(stored(*pair), in_model_order)
    assert {name: [found[f"{one}.{name}"].role for one in pair] for name in NETWORK} == {
        name: [alone[name].role] * 2 for name in NETWORK
    }


def test_what_has_other_weights_is_no_copy() -> None:
    assert originals(stored("encoder", "decoder", "blocks.0", "blocks.1")) == {}
    shapes = {"student.fc": (4, 4), "student.up": (8, 4), "teacher.fc": (4, 4), "teacher.up": (9, 4)}
    weights = [StoredWeight(f"{name}.weight", shape, "float32") for name, shape in shapes.items()]
    student, teacher = weights[:2], weights[2:]
    assert originals([*student, *teacher]) == {}
    assert originals([*student, teacher[0]]) == {"teacher.fc.weight": "student.fc.weight"}
    assert originals(teacher) == {}


def test_a_real_pair_is_one_network_twice() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    model = nn.ModuleDict({"online": network(), "target": network()})
    weights = [StoredWeight(name, tuple(one.shape), "float32") for name, one in model.named_parameters()]
    roles = {name: guess.role for name, guess in guesses(weights, in_model_order=True).items()}
    assert roles["online.2.weight"] == roles["target.2.weight"] == "output"
    assert roles["online.0.weight"] == roles["target.0.weight"] == "hidden"
