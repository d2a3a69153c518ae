"""The paper's GPT, which is modded-nanogpt's pre-norm transformer (arXiv 2512.08217, Sec. 3.1)."""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steadydecay.theory.validation import require_in


@final
class GPT(nn.Module):
    """A language model that computes the next-token loss from tokens.

    Embedding and output are tied, positions are rotary, RMS norms have no gains, and there are no biases.

    Args:
        vocabulary_size: The number of tokens.
        layers, heads, width: The size of the transformer. The width must be a multiple of 2 · heads.

    Raises:
        ValueError: A number is below 1, or the width is not such a multiple.
    """

    def __init__(self, vocabulary_size: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        for name, value in {"layers": layers, "heads": heads, "width": width}.items():
            require_in(name, value, 1, include_low=True)
        if width % (2 * heads):
            raise ValueError(f"width is {width!r}; it must be a multiple of 2 · heads = {2 * heads} (rotary pairs)")
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.blocks = nn.ModuleList(TransformerBlock(heads, width) for _ in range(layers))
        self.lm_head = nn.Linear(width, vocabulary_size, bias=False)
        self.lm_head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats of `targets` given `tokens`, both integers of shape (batch, length)."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(normalized(x)).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@final
class TransformerBlock(nn.Module):
    """Compute x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.attention = Attention(heads, width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(normalized(x))
        return x + self.mlp(normalized(x))


@final
class Attention(nn.Module):
    """Causal self-attention with rotary positions and RMS-normalised queries and keys."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        # One parameter holds three matrices, and each of them gets its own LMO.
        self.qkv = nn.Parameter(torch.empty(3, width, width))
        self.projection = nn.Linear(width, width, bias=False)
        nn.init.uniform_(self.qkv, -1 / math.sqrt(width), 1 / math.sqrt(width))
        nn.init.zeros_(self.projection.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split_heads(x) for x in F.linear(x, self.qkv.flatten(0, 1)).chunk(3, dim=-1))
        q, k = with_rotary_positions(normalized(q)), with_rotary_positions(normalized(k))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.projection(mixed.transpose(1, 2).flatten(start_dim=2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


@final
class MLP(nn.Module):
    """An MLP that is four times wider inside, with the activation (√2 · relu(x))², which preserves the variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(2 * F.relu(self.up(x)).square())


def normalized(x: Tensor) -> Tensor:
    """Scale x to RMS 1 over its last dimension."""
    return F.rms_norm(x, (x.shape[-1],))


def with_rotary_positions(x: Tensor) -> Tensor:
    """Apply rotary positions (arXiv 2104.09864) to x of shape (batch, heads, length, size) in pairs (i, i + size/2)."""
    *_, length, size = x.shape
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2, device=x.device) / size)
    angles = torch.arange(length, device=x.device).outer(frequencies)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine + second * sine, second * cosine - first * sine), dim=-1)
