"""ViT-S/16 and images for it: what benchmarks/end_to_end.py trains beside the GPT recipe."""

from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, PATCH, CLASSES = 224, 16, 1000


@final
class ImageTransformer(nn.Module):
    """ViT-S/16 (arXiv 2010.11929, 2012.12877) of torch's own layers, without dropout: images to classification loss."""

    def __init__(self, layers: int = 12, heads: int = 6, width: int = 384) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(0.02 * torch.randn(1, 1 + (SIDE // PATCH) ** 2, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy in nats of labels (batch,) given images (batch, 3, 224, 224)."""
        patches = self.patches(images).flatten(2).mT
        tokens = torch.cat((self.class_token.expand(len(images), -1, -1), patches), dim=1)
        encoded = self.encoder(tokens + self.position_embedding)
        return F.cross_entropy(self.head(encoded[:, 0]).float(), labels)


def random_crops(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Crops of matplotlib's sample photograph, half of them mirrored, in [-1, 1]; and labels at random."""
    from matplotlib import get_data_path
    from matplotlib.image import imread

    pixels = imread(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    photograph = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    _, height, width = photograph.shape
    crops = []
    for _ in range(count):
        top, left, is_mirrored = (
            int(torch.randint(high, (), generator=generator)) for high in (height - SIDE + 1, width - SIDE + 1, 2)
        )
        crop = photograph[:, top : top + SIDE, left : left + SIDE]
        crops.append(crop.flip(2) if is_mirrored else crop)
    return torch.stack(crops), torch.randint(CLASSES, (count,), generator=generator)
