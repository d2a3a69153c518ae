"""Find the files that a path means: a file, an index of shards, or a folder that contains one of them."""

import json
from pathlib import Path
from typing import NamedTuple, final

from steadydecay.inspection.foreign_files import METADATA, WEIGHT_SUFFIXES, deepspeed, distributed
from steadydecay.recipes.checkpoint import CHECKPOINT_FOLDER, checkpoints

# The order in which transformers looks for them.
KNOWN_NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# The files of transformers.Trainer and Accelerate beside the model.
OPTIMIZER_NAMES = ("optimizer.pt", "optimizer.bin")
NO_WEIGHTS = (*OPTIMIZER_NAMES, "training_args.bin", "scheduler.pt", "scheduler.bin", "scaler.pt")


@final
class CheckpointFiles(NamedTuple):
    """The files of one checkpoint.

    Attributes:
        main: What was found at the path, a file or an index.
        shards: Maps each file to the names of its tensors, or to None for all of them.
        optimizer: The file with the optimizer's state beside them.
    """

    main: Path
    shards: dict[Path, list[str] | None]
    optimizer: Path | None


def found_files(path: Path) -> CheckpointFiles:
    """Return the files that a path means; for a run's folder, those of its newest checkpoint.

    Raises:
        OSError: The path does not exist or cannot be read.
        ValueError: A folder has no checkpoint or several, or an index names no shards beside it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a .safetensors or .pt file, or a folder with one")
    main = _main_file(path) if path.is_dir() else path
    if not main.is_file():
        raise ValueError(f"{main} is not a regular file; give a .safetensors or .pt file, or a folder with one")
    beside = (main.parent / name for name in OPTIMIZER_NAMES)
    optimizer = next((one for one in beside if one.is_file() and one != main), None)
    shards: dict[Path, list[str] | None] = {main: None}
    if main.suffix == ".json":
        shards = _shards(main)
    return CheckpointFiles(main, shards, optimizer)


def _main_file(folder: Path) -> Path:
    if ours := checkpoints(folder / CHECKPOINT_FOLDER) or checkpoints(folder):
        return ours[0].path
    known = [folder / name for name in KNOWN_NAMES if (folder / name).is_file()]
    if told := "" if known else _in_pieces(folder):
        raise ValueError(f"{folder} {told}")
    others = sorted(one for one in folder.iterdir() if one.suffix in WEIGHT_SUFFIXES and _may_hold_weights(one))
    if known or len(others) == 1:
        return (known or others)[0]
    candidates = others or sorted(one for one in folder.iterdir() if one.is_dir())
    names = ", ".join(one.name for one in candidates[:3]) or "nothing like a checkpoint"
    legal = "it must contain one checkpoint (model.safetensors, its index.json, or a .pt file)"
    raise ValueError(f"{folder} contains {names}, but {legal}; name the file to read")


def _in_pieces(folder: Path) -> str:
    """Describe a folder whose weights are stored in pieces, and say what to do; return "" for other folders."""
    if (folder / "zero_to_fp32.py").is_file():
        return deepspeed(folder)
    inner = next((one.parent for one in sorted(folder.glob(f"*/{METADATA}"))), None)
    whole = folder if (folder / METADATA).is_file() else inner
    return "" if whole is None else distributed(whole)


def _may_hold_weights(path: Path) -> bool:
    return path.is_file() and path.name not in NO_WEIGHTS and not path.name.startswith("rng_state")


def _shards(index: Path) -> dict[Path, list[str] | None]:
    try:
        # Read bytes, to understand a byte-order mark or UTF-16, which editors and shells may leave.
        weight_map = json.loads(index.read_bytes())["weight_map"]
        named = [(str(name), str(shard)) for name, shard in weight_map.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{index} is not an index of shards ({type(error).__name__}): it needs a weight_map from tensors to "
            "files, as "
            "save_pretrained writes it. Give the model.safetensors.index.json or one shard."
        ) from error
    shards: dict[Path, list[str] | None] = {}
    for name, shard in named:
        path = index.parent / shard
        # An index from elsewhere must not make this function read arbitrary files.
        if shard != path.name or not path.is_file():
            raise ValueError(f"{index} names the shard {shard!r}, which is not a file beside it; copy all shards there")
        names = shards.setdefault(path, [])
        names.append(name) if names is not None else None
    if not shards:
        raise ValueError(f"{index} names no shards; give the file that contains the weights")
    return shards
