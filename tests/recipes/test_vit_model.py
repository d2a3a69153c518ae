"""Simple ViT against slow references: patches by loops, positions by their formula, attention and norms in float64."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from steadydecay.groups.roles import roles_of
from steadydecay.recipes.vit.model import MLP, ViT, in_patches, sine_cosine_positions

SMALL: dict[str, Any] = {"patch": 2, "layers": 2, "heads": 2, "width": 8}


def small(**changes: Any) -> ViT:
    torch.manual_seed(0)
    model = ViT((1, 4, 6), 3, **(SMALL | changes))
    torch.nn.init.normal_(model.head.weight)
    return model


def test_patches_are_squares_row_by_row_and_padded_with_zeros() -> None:
    images = torch.arange(1.0, 1 + 2 * 3 * 5 * 4).reshape(2, 3, 5, 4)
    found = in_patches(images, 2)
    assert found.shape == (2, 3 * 2, 3 * 4)
    for number, (row, column) in enumerate((row, column) for row in range(3) for column in range(2)):
        square = torch.zeros(2, 3, 2, 2)
        inside = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        square[:, :, : inside.shape[2], : inside.shape[3]] = inside
        assert torch.equal(found[:, number], square.flatten(1))


def test_a_linear_layer_on_patches_is_the_patch_convolution() -> None:
    images, kernel = torch.randn(2, 3, 8, 12), torch.randn(5, 3, 4, 4)
    convolved = F.conv2d(images, kernel, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(in_patches(images, 4) @ kernel.flatten(1).T, convolved)


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    found = sine_cosine_positions(3, 5, 16)
    for row in range(3):
        for column in range(5):
            omega = [10_000 ** (-k / 3) for k in range(4)]
            parts = [f(axis * w) for axis in (column, row) for f in (math.sin, math.cos) for w in omega]
            assert found[row * 5 + column].tolist() == pytest.approx(parts, abs=1e-6)


def slow_logits(model: ViT, images: Tensor) -> Tensor:
    """From the definitions, one image and one head at a time."""
    weights = {name: value.double() for name, value in model.state_dict().items()}
    results = []
    for image in (images.double() / 255 - weights["pixel_mean"]) / weights["pixel_std"]:
        patches = in_patches(image[None], model.patch)[0]
        x = patches @ weights["patches.weight"].T + weights["patches.bias"] + model.positions.double()
        for number in range(len(model.blocks)):
            own = {
                k.removeprefix(f"blocks.{number}."): v for k, v in weights.items() if k.startswith(f"blocks.{number}.")
            }
            x = x + slow_attention(own, slow_norm(x, own["attention_norm.weight"]))
            hidden = slow_norm(x, own["mlp_norm.weight"]) @ own["mlp.up.weight"].T + own["mlp.up.bias"]
            gelu = math.sqrt(2) * hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            x = x + gelu @ own["mlp.down.weight"].T + own["mlp.down.bias"]
        pooled = slow_norm(x, weights["norm.weight"]).mean(0)
        results.append(pooled @ weights["head.weight"].T + weights["head.bias"])
    return torch.stack(results)


def slow_norm(x: Tensor, gain: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt() * gain


def slow_attention(own: dict[str, Tensor], x: Tensor) -> Tensor:
    q, k, v = (x @ own["attention.qkv"][i].T + own["attention.qkv_bias"].chunk(3)[i] for i in range(3))
    size = x.shape[1] // 2
    heads = []
    for head in range(2):
        part = slice(head * size, (head + 1) * size)
        weights = (q[:, part] @ k[:, part].T / math.sqrt(size)).softmax(-1)
        heads.append(weights @ v[:, part])
    return torch.cat(heads, dim=1) @ own["attention.projection.weight"].T + own["attention.projection.bias"]


def test_logits_are_those_of_the_definition() -> None:
    model = small()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    images = torch.randint(256, (3, 1, 4, 6), dtype=torch.uint8)
    torch.testing.assert_close(model.logits(images).double(), slow_logits(model, images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.logits(images / 255), model.logits(images))


@pytest.mark.parametrize(("activation", "factor"), [("gelu", 1.0), ("scaled_gelu", math.sqrt(2))])
def test_the_paper_s_activation_is_scaled(activation: str, factor: float) -> None:
    mlp, x = MLP(8, activation), torch.randn(3, 8)
    torch.testing.assert_close(mlp(x), mlp.down(factor * F.gelu(mlp.up(x))))


def test_the_norm_is_chosen_by_name() -> None:
    norms = {name: {type(m).__name__ for m in small(norm=name).modules()} for name in ("layer", "rms")}
    assert "LayerNorm" in norms["layer"] and "RMSNorm" not in norms["layer"]
    assert "RMSNorm" in norms["rms"] and "LayerNorm" not in norms["rms"]


def test_training_gives_the_loss_and_evaluation_the_accuracy_too() -> None:
    model, images = small(), torch.randint(256, (5, 1, 4, 6), dtype=torch.uint8)
    labels = model.logits(images).argmax(1)
    labels[0] = (labels[0] + 1) % 3
    loss = model(images, labels)
    torch.testing.assert_close(loss, F.cross_entropy(model.logits(images), labels))
    model.eval()
    found = model(images, labels)
    assert (found["loss"], found["top1"].item()) == (loss, pytest.approx(4 / 5))


def test_mixup_s_targets_are_two_hot() -> None:
    model, images = small(), torch.rand(4, 1, 4, 6)
    labels, others, share = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2]), torch.tensor([1.0, 0.3, 0.5, 0.0])
    targets = share[:, None] * F.one_hot(labels, 3) + (1 - share[:, None]) * F.one_hot(others, 3)
    torch.testing.assert_close(model(images, labels, others, share), F.cross_entropy(model.logits(images), targets))


def test_roles_are_those_of_the_paper() -> None:
    roles = roles_of(small())
    assert {name for name, role in roles.items() if role == "output"} == {"head.weight"}
    matrices = {name for name, role in roles.items() if role == "hidden"}
    names = ("attention.qkv", "attention.projection.weight", "mlp.up.weight", "mlp.down.weight")
    assert matrices == {"patches.weight", *(f"blocks.{block}.{name}" for block in (0, 1) for name in names)}
    assert set(roles.values()) == {"output", "hidden", "vector"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, r"layers is 0; it must be in \[1"),
        ({"patch": 0}, r"patch is 0; it must be in \[1"),
        ({"width": 10}, r"width is 10; it must be a multiple of 4 and of heads = 2"),
        ({"heads": 3}, r"width is 8; it must be a multiple of 4 and of heads = 3"),
        ({"norm": "lyer"}, r"norm is 'lyer'; did you mean 'layer'\?"),
        ({"activation": "relu"}, r"activation is 'relu'; did you mean 'gelu'\?"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small(**changes)
