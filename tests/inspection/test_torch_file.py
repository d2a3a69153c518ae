"""Which of a checkpoint's tensors are the model's, and which are not."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from steadydecay.inspection.checkpoint_files import found_files
from steadydecay.inspection.given_settings import GivenSettings
from steadydecay.inspection.inspected import inspect_checkpoint
from steadydecay.inspection.stored_weights import found_weights
from steadydecay.inspection.torch_file import keys_elsewhere, listed_weights, steps_of

PATH = Path("model.pt")
MODEL = {"up.weight": torch.ones(8, 8), "up.bias": torch.ones(8)}
INNER = ["up.weight", "up.bias"]
CONFIGURATION = {"hidden": 64, "layers": [1, 2], "dropout": {"p": 0.1}}


def names(content: Any) -> list[str]:
    return [one.name for one in listed_weights(content, PATH)[0]]


HIDDEN: dict[str, tuple[dict[Any, Any], list[str]]] = {
    "under model, weights in state_dict": ({"model": CONFIGURATION, "state_dict": MODEL}, INNER),
    "under params, weights in net": ({"params": CONFIGURATION, "net": MODEL}, [f"net.{name}" for name in INNER]),
    "under weights, weights in model": ({"weights": {"class": 0.5}, "model": MODEL}, INNER),
    "under module, weights in G": ({"module": {}, "G": MODEL}, [f"G.{name}" for name in INNER]),
    "with vectors": ({"model": {"mean": torch.ones(3)}, "state_dict": MODEL}, INNER),
    "with a small matrix": ({"model": {"anchors": torch.ones(3, 2)}, "weights": MODEL}, INNER),
    "with a small matrix, and weights elsewhere": (
        {"model": {"anchors": torch.ones(1, 2)}, "net": MODEL},
        ["model.anchors", *(f"net.{name}" for name in INNER)],
    ),
    "of vectors alone": ({"model": {"gain": torch.ones(3)}, "epoch": 3}, ["gain"]),
    "a list under model": ({"model": [64, 64], "weights": MODEL}, INNER),
    "a name under model": ({"model": "resnet", "net": MODEL}, [f"net.{name}" for name in INNER]),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_configuration_does_not_hide_the_weights(case: str) -> None:
    content, expected = HIDDEN[case]
    assert names(content) == expected


def adam() -> dict[str, Any]:
    model = nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("key", ["opt_g", "optim_g", "optimizer_state", "optimizers", "solver", "adam"])
@pytest.mark.parametrize("of", [lambda one: one, lambda one: {"inner": one}, lambda one: one["state"]])
def test_an_optimizer_is_never_a_weight(key: str, of: Any) -> None:
    assert names({"net": MODEL, key: of(adam())}) == ["net.up.weight", "net.up.bias"]
    assert names({"model": MODEL | {key: of(adam())}}) == INNER


@pytest.mark.parametrize("content", [adam(), {"opt_g": adam()}, [adam()], {"a": {"b": adam()}, "c": 1}])
def test_a_file_of_optimizers_alone_says_so(content: Any) -> None:
    with pytest.raises(ValueError, match="contains the state of an optimizer but no weights; give the model's file"):
        names(content)


@pytest.mark.parametrize(
    "content", [[MODEL, adam()], (MODEL, adam()), [3, {"net": MODEL}], [adam(), {"a": torch.ones(2)}]]
)
def test_a_model_in_a_list_is_told_how_to_be_saved(content: Any) -> None:
    with pytest.raises(ValueError, match=rf"contains a {type(content).__name__}; save a dict with names: {{'model'"):
        names(content)


def test_views_that_claim_far_more_than_is_stored_are_refused() -> None:
    flat = torch.ones(1200)
    overlapping = {f"v{i}": flat[i : i + 1000].view(10, 100) for i in range(200)}
    with pytest.raises(
        ValueError, match="contains weights of 800,000 bytes in 4,800 bytes, so they overlap; save clones"
    ):
        names(overlapping)
    reshaped = {f"v{i}": flat.view(-1, i) for i in (1, 2, 3, 4, 5, 6, 8, 10, 12)}
    with pytest.raises(ValueError, match="they overlap"):
        names(reshaped)


def test_a_flat_buffer_beside_its_views_is_read() -> None:
    flat = torch.ones(1200)
    views = {f"v{i}": flat[i * 100 : i * 100 + 100].view(10, 10) for i in range(12)}
    content = views | {"flat": flat, **{f"{name}.mT": one.mT for name, one in views.items()}}
    assert len(names(content)) == 25


def test_losses_beside_a_model_are_no_weights_and_told() -> None:
    content = {"net": MODEL, "loss": torch.tensor(0.5), "losses": torch.ones(9), "epoch": 3, "best": 0.1}
    assert names(content) == ["net.up.weight", "net.up.bias"]
    assert keys_elsewhere(content) == ["loss", "losses"]
    flat = {"scale": torch.tensor(0.5), "gain": torch.ones(3), "up": torch.ones(3, 3)}
    assert names(flat) == ["scale", "gain", "up"] and keys_elsewhere(flat) == []


def test_other_models_in_the_file_are_told() -> None:
    content = {"model": MODEL, "ema": MODEL, "optimizer": adam(), "rng": torch.zeros(9, dtype=torch.uint8), "step": 3}
    assert names(content) == INNER and keys_elsewhere(content) == ["ema"]


@pytest.mark.parametrize("key", ["opt_g", "optimizer_states"])
def test_steps_are_found_in_the_state_under_any_key(key: str) -> None:
    assert steps_of({"net": MODEL, key: [adam()]}) == 1


ODD: dict[str, Any] = {
    "nested": torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)]),
    "nested of one entry": torch.nested.nested_tensor([torch.ones(1)]),
    "csr": torch.eye(3).to_sparse_csr(),
    "bsr": torch.eye(4).to_sparse_bsr((2, 2)),
    "sparse of one entry": torch.ones(1).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "per channel": torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8),
    "complex": torch.ones(2, dtype=torch.complex64).conj(),
    "meta": torch.ones(2, device="meta"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_tensor_of_another_kind_is_left_out_wherever_it_is(case: str, tmp_path: Path) -> None:
    odd, path = ODD[case], tmp_path / "model.pt"
    group = {"lr": odd, "weight_decay": 0.1, "betas": (0.9, 0.99), "eps": odd, "params": [0, [1], odd]}
    optimizer = {"state": {0: {"exp_avg": odd, "step": odd}}, "param_groups": [group]}
    torch.save({"model": MODEL | {"odd": odd}, "optimizer": optimizer, "step": odd}, path)
    found = found_weights(found_files(path))
    assert [one.name for one in found.listed] == INNER and found.other_names == ["odd"]
    inspected = inspect_checkpoint(path, GivenSettings())
    assert inspected.left_out == 1 and inspected.has_state and not any(one.settings for one in inspected.layers)


DEEP = 10**5
NESTED = {
    "dicts": b"}X\x01\x00\x00\x00c" * DEEP + b"}" + b"s" * DEEP,
    "lists": b"]" * (DEEP + 1) + b"a" * DEEP,
    "lists of itself": b"]q\x05h\x05ah\x05a",
}


@pytest.mark.parametrize("case", NESTED)
def test_a_configuration_nested_without_end_is_no_matter(case: str, tmp_path: Path) -> None:
    """Beside the weights and as every value of an optimizer's group."""
    whole, path = tmp_path / "whole.pt", tmp_path / "model.pt"
    group = {"lr": "@", "weight_decay": "@", "betas": "@", "norm": "@", "momentum": 0.9, "params": [0]}
    state = {0: {"exp_avg": torch.ones(8, 8)}}
    torch.save({"config": "@", "model": MODEL, "opt": {"state": state, "param_groups": [group]}, "step": "@"}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            pickled = source.read(name)
            if name.endswith("data.pkl"):
                at = b"X\x01\x00\x00\x00@q" + pickled[pickled.index(b"@q") + 2 :][:1]
                # The other places refer to the first.
                assert pickled.count(at) == 1 and pickled.count(b"h" + at[-1:]) >= 4
                pickled = pickled.replace(at, NESTED[case] + at[-2:])
            target.writestr(name, pickled)
    inspected = inspect_checkpoint(path, GivenSettings())
    assert [one.name for one in inspected.layers] == INNER
    assert [one.settings.refusal if one.settings else "" for one in inspected.layers] == [
        "its group has no lr or no weight_decay",
        "",
    ]
