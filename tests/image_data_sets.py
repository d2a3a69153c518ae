"""Small image data sets in the formats that people have them in."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def coloured(label: int, number: int, width: int = 40, height: int = 30) -> Image.Image:
    """A noisy picture whose colour is that of its class."""
    random = np.random.default_rng((label % 1000, number))
    colour = np.eye(3)[label % 3] * 200 + 20
    return Image.fromarray(np.clip(colour + random.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_folder(folder: Path, classes: Sequence[str], each: int) -> Path:
    """One folder for each class, of JPEG and PNG files."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            kind, suffix = ("PNG", "png") if number % 3 == 0 else ("JPEG", "jpg")
            (folder / name / f"{number}.{suffix}").write_bytes(encoded(coloured(label, number), kind))
    return folder


def write_parquet(
    path: Path,
    labels: Sequence[int],
    *,
    rows_per_group: int = 10,
    classes: int | None = None,
    broken: Sequence[int] = (),
) -> Path:
    """As Hugging Face writes ImageNet-1k: image {bytes, path} and label; those at `broken` are cut off."""
    contents = [encoded(coloured(label, number)) for number, label in enumerate(labels)]
    images = [
        {"bytes": one[: len(one) // 3] if number in broken else one, "path": f"{number}.jpg"}
        for number, one in enumerate(contents)
    ]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", struct), ("label", pa.int64())])
    if classes is not None:
        names = [f"class {number}" for number in range(classes)]
        description: dict[str, Any] = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        schema = schema.with_metadata({"huggingface": json.dumps(description)})
    pq.write_table(
        pa.table({"image": images, "label": list(labels)}, schema=schema), path, row_group_size=rows_per_group
    )
    return path
