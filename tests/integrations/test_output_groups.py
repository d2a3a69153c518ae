"""What the model says of groups that carry no roles, and norms by group."""

import math
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from steadydecay.integrations.output_groups import groups_beside_output
from steadydecay.parallel.total_norms import gradient_norms, total_norm, weight_norms


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def test_a_group_of_the_output_layer_alone_is_left_out_without_a_warning() -> None:
    net = model()
    hidden, output = net[0], net[1]  # pyright: ignore[reportIndexIssue]
    groups = [{"params": [hidden.weight], "weight_decay": 0.1}, {"params": [output.weight], "weight_decay": 0.1}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert groups_beside_output(groups, net) == [0]


def test_a_group_that_mixes_is_named_unless_it_does_not_decay() -> None:
    net = model()
    groups = [{"params": list(net.parameters()), "weight_decay": 0.1}]
    with pytest.warns(UserWarning, match=r"group 0 mixes the output layer \(1.weight\)"):
        assert groups_beside_output(groups, net) == [0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert groups_beside_output([groups[0] | {"weight_decay": 0.0}], net) == [0]


def test_roles_and_parameters_from_elsewhere_are_left_to_the_verb() -> None:
    net = model()
    assert groups_beside_output([{"params": list(net.parameters()), "role": "hidden"}], net) is None
    assert groups_beside_output([{"params": [nn.Parameter(torch.ones(2))]}], net) is None


def test_norms_go_by_role_then_name_then_index_and_groups_of_a_role_together() -> None:
    def parameter(value: float, gradient: float | None = None) -> nn.Parameter:
        result = nn.Parameter(torch.full((4,), value))
        result.grad = None if gradient is None else torch.full((4,), gradient)
        return result

    groups = [
        {"params": [parameter(3.0, 1.0)], "role": "hidden"},
        {"params": [parameter(4.0), parameter(0.0, 1.0)], "role": "hidden"},
        {"params": [parameter(2.0)], "name": "experts"},
        {"params": [parameter(1.0)]},
        {"params": []},
    ]
    norms = {name: float(norm) for name, norm in weight_norms(groups).items()}
    assert norms == {"weight_norm/hidden": 10.0, "weight_norm/experts": 4.0, "weight_norm/group_3": 2.0}
    gradients = {name: float(norm) for name, norm in gradient_norms(groups).items()}
    assert gradients == {"gradient_norm/hidden": pytest.approx(math.sqrt(8))}


def test_low_precision_is_summed_in_float32_and_float64_stays() -> None:
    # In float16 the norm of these would be infinite.
    assert float(total_norm([torch.full((4,), 60000.0, dtype=torch.float16)])) == 120000.0
    assert total_norm([torch.ones(3, dtype=torch.float64)]).dtype == torch.float64


def test_sharded_tensors_count_whole(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        sharded = distribute_tensor(torch.tensor([3.0, 4.0]), mesh, [Shard(0)])
        norm = total_norm([sharded, torch.tensor([12.0])])
        assert type(norm) is torch.Tensor and float(norm) == 13.0
    finally:
        dist.destroy_process_group()
