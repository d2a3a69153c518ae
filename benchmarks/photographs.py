"""Write crops of real photographs as parquet files in ImageNet-1k's layout: each photograph is a class.

    python benchmarks/photographs.py FOLDER                        # those that come with scikit-learn and matplotlib
    python benchmarks/photographs.py FOLDER --pictures PICTURES    # and those of a folder of your own
    steadydecay train vit --size s16 --data FOLDER --steps 20 batch_size=32 --out runs/s16

With --as-arrays N the crops are N × N pixels and go into one .npz file instead, FOLDER/photographs.npz.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib import get_data_path
from PIL import Image
from sklearn import datasets

SUFFIXES = (".jpg", ".jpeg", ".png")
SMALLEST_CROP, LARGEST_CROP = 96, 320
VALIDATION_ONE_IN = 5
ROWS_PER_GROUP = 100
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def installed_photographs() -> list[Path]:
    of_sklearn = Path(datasets.__file__).parent / "images"
    return [*sorted(of_sklearn.glob("*.jpg")), Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"]


def crop_of(photograph: Image.Image, random: np.random.Generator) -> Image.Image:
    longest = min(LARGEST_CROP, *photograph.size)
    width, height = random.integers(min(SMALLEST_CROP, longest), longest + 1, 2)
    left, top = (
        random.integers(0, whole - part + 1) for whole, part in zip(photograph.size, (width, height), strict=True)
    )
    return photograph.crop((left, top, left + width, top + height))


def crops(paths: list[Path], count: int) -> list[tuple[Image.Image, int]]:
    """`count` crops of each photograph with its number, in random order."""
    random = np.random.default_rng(0)
    photographs = [Image.open(path).convert("RGB") for path in paths]
    every = [(crop_of(one, random), label) for label, one in enumerate(photographs) for _ in range(count)]
    return [every[place] for place in random.permutation(len(every))]


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_parquet(path: Path, examples: list[tuple[Image.Image, int]], names: list[str]) -> None:
    described = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    schema = pa.schema([("image", STRUCT), ("label", pa.int64())]).with_metadata({"huggingface": json.dumps(described)})
    images = [{"bytes": encoded(image), "path": f"{number}.jpg"} for number, (image, _) in enumerate(examples)]
    table = pa.table({"image": images, "label": [label for _, label in examples]}, schema=schema)
    pq.write_table(table, path, row_group_size=ROWS_PER_GROUP)


def write_arrays(path: Path, examples: list[tuple[Image.Image, int]], side: int) -> None:
    images = np.stack([np.asarray(image.resize((side, side))) for image, _ in examples])
    np.savez(path, images=images, labels=np.array([label for _, label in examples]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more photographs")
    parser.add_argument("--crops", type=int, default=250, help="of each photograph")
    parser.add_argument("--as-arrays", type=int, metavar="N")
    options = parser.parse_args()
    paths = installed_photographs()
    if options.pictures is not None:
        paths += [path for path in sorted(options.pictures.iterdir()) if path.suffix.lower() in SUFFIXES]
    examples, names = crops(paths, options.crops), [path.stem for path in paths]
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.as_arrays is not None:
        write_arrays(options.folder / "photographs.npz", examples, options.as_arrays)
    else:
        held_out = len(examples) // VALIDATION_ONE_IN
        write_parquet(options.folder / "train-00000-of-00001.parquet", examples[held_out:], names)
        write_parquet(options.folder / "validation-00000-of-00001.parquet", examples[:held_out], names)
    print(f"{len(examples)} crops of {len(paths)} photographs: {', '.join(names)}")


if __name__ == "__main__":
    main()
