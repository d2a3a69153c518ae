"""The paper's ViT: Simple ViT (arXiv 2205.01580), with its LayerNorm and GELU or Scion's RMSNorm and √2·GELU."""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steadydecay.recipes.overrides import nearest
from steadydecay.theory.validation import require_in

# The temperature of the sin-cos positions, as in Simple ViT.
TEMPERATURE = 10_000.0
NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
# √2·GELU approximately preserves the variance of its input.
ACTIVATIONS: dict[str, float] = {"gelu": 1.0, "scaled_gelu": math.sqrt(2)}


@final
class ViT(nn.Module):
    """A classifier of images with patches, 2-D sin-cos positions, pre-norm blocks, mean pooling and a linear head.

    Args:
        image: The shape (channels, height, width) of its input.
        classes: The number of classes.
        patch: The side of a patch in pixels. Images are padded with their mean on the right and at the bottom to fit.
        layers, heads, width: The size of the transformer. The width must be a multiple of 4 (sine and cosine of two
            axes) and of heads.
        norm: "layer" or "rms", both with gains.
        activation: "gelu" or "scaled_gelu", which is √2·GELU.
        mean, std: The statistics of each channel of the training images in 0…1, with which images are normalised to
            mean 0 and deviation 1.

    Raises:
        ValueError: A number is below 1, the width is not such a multiple, or the norm or activation is unknown.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    positions: Tensor

    def __init__(
        self,
        image: tuple[int, int, int],
        classes: int,
        *,
        patch: int,
        layers: int,
        heads: int,
        width: int,
        norm: str = "rms",
        activation: str = "scaled_gelu",
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> None:
        super().__init__()
        channels, height, wide = image
        for name, value in {"patch": patch, "layers": layers, "heads": heads, "width": width}.items():
            require_in(name, value, 1, include_low=True)
        if width % math.lcm(4, heads):
            raise ValueError(
                f"width is {width!r}; it must be a multiple of 4 and of heads = {heads} (sin-cos positions)"
            )
        _require_key("norm", norm, NORMS)
        _require_key("activation", activation, ACTIVATIONS)
        self.image, self.patch = image, patch
        rows, columns = math.ceil(height / patch), math.ceil(wide / patch)
        self.register_buffer("pixel_mean", _per_channel(mean, channels, 0.5))
        self.register_buffer("pixel_std", _per_channel(std, channels, 0.5))
        self.register_buffer("positions", sine_cosine_positions(rows, columns, width), persistent=False)
        self.patches = _linear(channels * patch * patch, width)
        self.blocks = nn.ModuleList(Block(heads, width, norm, activation) for _ in range(layers))
        self.norm = NORMS[norm](width)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def logits(self, images: Tensor) -> Tensor:
        """Return (batch, classes) for images (batch, channels, height, width): bytes in 0…255, or floats in 0…1."""
        x = images / 255 if images.dtype == torch.uint8 else images
        x = in_patches((x - self.pixel_mean) / self.pixel_std, self.patch)
        x = self.patches(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1)).float()

    def forward(
        self, images: Tensor, labels: Tensor, others: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Return the mean cross-entropy in nats; in an evaluation also "top1", the share of correctly classified
        images.

        Args:
            images: As in `logits`.
            labels: The classes, int64 of shape (batch,).
            others, share: For Mixup, the class of the image that was mixed in, int64 (batch,), and the share of the
                first
                image, (batch,) in 0…1. The targets are then two-hot.
        """
        logits = self.logits(images)
        if others is not None and share is not None:
            first, second = (F.cross_entropy(logits, one, reduction="none") for one in (labels, others))
            return (share * first + (1 - share) * second).mean()
        loss = F.cross_entropy(logits, labels)
        return loss if self.training else {"loss": loss, "top1": (logits.argmax(1) == labels).float().mean()}


@final
class Block(nn.Module):
    """Compute x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, heads: int, width: int, norm: str, activation: str) -> None:
        super().__init__()
        self.attention_norm, self.attention = NORMS[norm](width), Attention(heads, width)
        self.mlp_norm, self.mlp = NORMS[norm](width), MLP(width, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


@final
class Attention(nn.Module):
    """Self-attention between all patches."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        # One parameter holds three matrices, and each of them gets its own LMO.
        self.qkv = nn.Parameter(torch.empty(3, width, width))
        self.qkv_bias = nn.Parameter(torch.zeros(3 * width))
        self.projection = _linear(width, width)
        for matrix in self.qkv.data:
            nn.init.xavier_uniform_(matrix)

    def forward(self, x: Tensor) -> Tensor:
        mixed = F.linear(x, self.qkv.flatten(0, 1), self.qkv_bias)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
        return self.projection(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(start_dim=2))


@final
class MLP(nn.Module):
    """An MLP that is four times wider inside."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.scale = ACTIVATIONS[activation]
        self.up, self.down = _linear(width, 4 * width), _linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.scale * F.gelu(self.up(x)))


def in_patches(images: Tensor, patch: int) -> Tensor:
    """Cut images (batch, channels, height, width) into (batch, patches, channels · patch²), row by row, padded with 0.

    A linear layer on the result equals the patch convolution, with its kernel as one matrix, as the paper's Spectral
    norm treats it.
    """
    *_, height, width = images.shape
    images = F.pad(images, (0, -width % patch, 0, -height % patch))
    return F.unfold(images, patch, stride=patch).transpose(1, 2)


def sine_cosine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return sines and cosines of column and row at width/4 frequencies each, of shape (rows · columns, width).

    Args:
        rows, columns: The number of patches along each axis.
        width: A multiple of 4.
    """
    quarter = width // 4
    frequencies = TEMPERATURE ** (-torch.arange(quarter) / max(1, quarter - 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    x, y = (axis.flatten()[:, None] * frequencies for axis in (x, y))
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _per_channel(values: Tensor | None, channels: int, otherwise: float) -> Tensor:
    return torch.full((channels, 1, 1), otherwise) if values is None else values.float().reshape(channels, 1, 1)


def _require_key(
    name: str, value: str, legal: dict[str, object] | dict[str, type[nn.Module]] | dict[str, float]
) -> None:
    if value not in legal:
        raise ValueError(f"{name} is {value!r}{nearest(value, legal)}")
