"""The GPT: causal, rotary, tied, zero-initialised where the paper says so, with the roles that the optimizers need."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from steadydecay.groups.param_groups import param_groups
from steadydecay.recipes.corpus import SHARD_VOCABULARY
from steadydecay.recipes.gpt.model import GPT, MLP, Attention, normalized, with_rotary_positions
from steadydecay.recipes.gpt.recipe import SIZES


def model_of(vocabulary_size: int = 17, layers: int = 2, heads: int = 2, width: int = 16, *, is_used: bool) -> GPT:
    """A model at its initialisation or, if it is used, with weights everywhere: at first each block is the identity."""
    torch.manual_seed(0)
    model = GPT(vocabulary_size, layers, heads, width)
    for parameter in model.parameters() if is_used else ():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def logits_of(model: GPT, tokens: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = model.lm_head.register_forward_hook(lambda *call: seen.append(call[2]))
    model(tokens, tokens)
    hook.remove()
    return seen[0]


def groups_by_name(model: GPT, optimizer: str) -> dict[str, dict[str, Any]]:
    groups = param_groups(model, optimizer, lr=0.1)
    return {name: group for group in groups for name in group["param_names"]}


# The model


@pytest.mark.parametrize(("vocabulary_size", "width"), [(256, 32), (256, 128), (1000, 64)])
def test_the_first_loss_is_that_of_a_guess(vocabulary_size: int, width: int) -> None:
    model = model_of(vocabulary_size, width=width, is_used=False)
    tokens = torch.randint(vocabulary_size, (8, 65))
    loss = model(tokens[:, :-1], tokens[:, 1:])
    assert loss.shape == ()
    assert loss.item() == pytest.approx(math.log(vocabulary_size), abs=0.1)


def test_the_loss_is_the_mean_cross_entropy_of_the_targets() -> None:
    model = model_of(is_used=True)
    tokens, targets = torch.randint(17, (3, 6)), torch.randint(17, (3, 6))
    probabilities = logits_of(model, tokens).double().softmax(dim=-1)
    expected = -probabilities.gather(-1, targets.unsqueeze(-1)).log().mean()
    assert model(tokens, targets).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("changed", [0, 3, 7])
def test_a_token_changes_no_logit_before_it(changed: int) -> None:
    model = model_of(is_used=True)
    tokens = torch.randint(17, (2, 8))
    others = tokens.clone()
    others[:, changed] = (others[:, changed] + 1) % 17
    before, after = logits_of(model, tokens), logits_of(model, others)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before - after)[:, changed:].abs().amax(dim=-1).min() > 1e-4


def test_the_order_of_earlier_tokens_matters() -> None:
    # Two layers can tell an order from the causal mask alone.
    model = model_of(layers=1, is_used=True)
    tokens = torch.randint(17, (1, 8))
    swapped = tokens[:, [1, 0, *range(2, 8)]]
    assert tokens[0, 0] != tokens[0, 1]
    assert (logits_of(model, tokens) - logits_of(model, swapped))[:, -1].abs().max() > 1e-4


def test_the_output_is_the_embedding() -> None:
    model = model_of(is_used=False)
    assert model.lm_head.weight is model.embedding.weight
    names = [name for name, _ in model.named_parameters()]
    assert "embedding.weight" in names and "lm_head.weight" not in names
    assert len(names) == 1 + 2 * 4


def test_at_first_each_block_is_the_identity() -> None:
    model = model_of(is_used=False)
    x = torch.randn(2, 5, 16)
    for block in model.blocks:
        assert torch.equal(block(x), x)
    zero = {name for name, parameter in model.named_parameters() if not parameter.any()}
    assert zero == {f"blocks.{i}.{name}.weight" for i in range(2) for name in ("attention.projection", "mlp.down")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 30}, r"width is 30; it must be a multiple of 2 · heads = 4 \(rotary pairs\)"),
        ({"width": 0}, r"width is 0; it must be in \[1"),
        ({"layers": 0}, r"layers is 0; it must be in \[1"),
        ({"heads": 0}, r"heads is 0; it must be in \[1"),
    ],
)
def test_a_size_that_cannot_be_built_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GPT(**{"vocabulary_size": 17, "layers": 1, "heads": 2, "width": 16} | arguments)


def test_the_paper_s_preset_has_124_million_parameters() -> None:
    size = SIZES["124m"]
    with torch.device("meta"):
        model = GPT(SHARD_VOCABULARY, size["layers"], size["heads"], size["width"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 12 * 12 * 768**2 + 50304 * 768 == 123_568_128


# Roles


def test_scion_takes_hidden_matrices_as_spectral_and_the_tied_one_as_output() -> None:
    groups = groups_by_name(model_of(is_used=False), "scion")
    assert groups.keys() == dict(model_of(is_used=False).named_parameters()).keys()
    for name, group in groups.items():
        expected = ("output", "sign", "constant") if name == "embedding.weight" else ("hidden", "spectral", None)
        assert (group["role"], group["norm"], group.get("decay")) == expected, name


def test_the_fused_queries_keys_and_values_are_three_matrices() -> None:
    model = model_of(is_used=False)
    qkv = dict(model.named_parameters())["blocks.0.attention.qkv"]
    assert qkv.shape == (3, 16, 16)
    assert groups_by_name(model, "scion")["blocks.0.attention.qkv"]["role"] == "hidden"
    # In the order of the stack: only the first matrix makes queries.
    attention = model.blocks[0].attention
    assert isinstance(attention, Attention)
    torch.nn.init.eye_(attention.projection.weight)
    x = torch.randn(1, 1, 16)
    assert torch.allclose(attention(x), x @ qkv[2].T, atol=1e-6), "one position attends to its own value alone"


def test_adamw_takes_the_same_roles_without_norms() -> None:
    groups = groups_by_name(model_of(is_used=False), "adamw")
    assert all("norm" not in group for group in groups.values())
    assert {group["role"] for group in groups.values()} == {"hidden", "output"}


# Its functions


def test_rotary_positions_keep_norms_and_the_first_vector() -> None:
    x = torch.randn(2, 3, 50, 8, dtype=torch.float64)
    assert torch.allclose(with_rotary_positions(x).norm(dim=-1), x.norm(dim=-1), rtol=1e-6)
    assert torch.equal(with_rotary_positions(x)[:, :, 0], x[:, :, 0])
    assert with_rotary_positions(x.bfloat16()).dtype == torch.bfloat16


def test_rotary_positions_are_relative() -> None:
    query, key = torch.randn(2, 8, dtype=torch.float64)
    queries, keys = (with_rotary_positions(vector.expand(1, 1, 40, 8))[0, 0] for vector in (query, key))
    products = queries @ keys.T
    for apart in (0, 1, 5, 20):
        diagonal = products.diagonal(-apart)
        assert torch.allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-4), "the same distance, the same product"
    assert products.diagonal(-5)[0] != pytest.approx(products.diagonal(5)[0].item(), abs=1e-3), "and it has a sign"


def test_rotary_pairs_turn_at_their_own_frequency() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0] = 1
    first = with_rotary_positions(x)[0, 0]
    positions, slow = torch.arange(4.0), torch.arange(4.0) / 100
    assert torch.allclose(first[:, 0], positions.cos()) and torch.allclose(first[:, 2], -positions.sin())
    second = with_rotary_positions(x.roll(1, dims=-1))[0, 0]
    assert torch.allclose(second[:, 1], slow.cos()) and torch.allclose(second[:, 3], -slow.sin())


def test_normalized_has_rms_one() -> None:
    x = 7 * torch.randn(3, 5, 64)
    assert torch.allclose(normalized(x).square().mean(dim=-1), torch.ones(3, 5), rtol=1e-5)


def test_the_mlp_keeps_the_variance_of_its_activation() -> None:
    mlp = MLP(2)
    torch.nn.init.zeros_(mlp.up.weight)
    torch.nn.init.ones_(mlp.down.weight)
    with torch.no_grad():
        mlp.up.weight[0, 0] = 1
    x = torch.tensor([[3.0, 0.0], [-3.0, 0.0]])
    assert mlp(x).tolist() == [[18.0, 18.0], [0.0, 0.0]], "(√2 · relu(3))² = 18"
