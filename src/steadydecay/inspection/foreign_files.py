"""What a file is that holds no weights as safetensors or torch.save write them, and what to do with it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

GIVE = "give a .safetensors file or one of torch.save"
# torch.distributed.checkpoint's, beside the .distcp files of each process.
METADATA = ".metadata"
DISTRIBUTED_SUFFIX = ".distcp"
# First bytes -> what the file is, and what to do.
STARTS = {
    b"GGUF": f"is a GGUF file of llama.cpp: {GIVE}, from which it was converted",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file itself: run git lfs pull beside it",
    b"\x89HDF\r\n": f"is an HDF5 file, as Keras and h5py write it: {GIVE}",
    b"\x93NUMPY": f"is an array of NumPy: {GIVE}",
    b"<!doctype": "is a web page and not the file itself: download the file again",
    b"<html": "is a web page and not the file itself: download the file again",
    b"\x1f\x8b": "is compressed by gzip: run gunzip on it and give what is in it",
    b"BZh": "is compressed by bzip2: run bunzip2 on it and give what is in it",
    b"\xfd7zXZ": "is compressed by xz: run unxz on it and give what is in it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: run unzstd on it and give what is in it",
    b"7z\xbc\xaf": "is a 7z archive: unpack it and give what is in it",
}
DEEPSPEED_ENDS = ("_optim_states.pt", "_model_states.pt")
# Keys of a dict -> what it is.
BESIDE = {
    ("last_epoch", "_step_count"): "the state of a schedule of lr",
    ("growth_factor", "backoff_factor"): "the state of a GradScaler",
}
TAR_MARK = slice(257, 262)
# Enough to tell a file by.
START_BYTES = 512
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
EXPORTED = ("archive_format", "serialized_exported_program.json", "serialized_state_dict.pt")


def foreign(start: bytes, suffix: str) -> str:
    """The end of a sentence that begins with the file's name; empty for what may be safetensors.

    Args:
        start: its first `START_BYTES` bytes.
        suffix: of its name.
    """
    if not start:
        return f"is empty (0 bytes); {GIVE}"
    if start[TAR_MARK] == b"ustar":
        return "is a tar archive: unpack it and give what is in it"
    for mark, told in STARTS.items():
        if start[: len(mark)].lower() == mark.lower():
            return told
    neither = f"is neither safetensors nor a file of torch.save: it starts with {start[:9]!r}; {GIVE}"
    return "" if suffix == ".safetensors" else neither


def foreign_pickle(path: Path) -> str:
    """The end of a sentence on a pickle that is not of torch.save."""
    if path.name == METADATA:
        return distributed(path.parent)
    return (
        "is a pickle that torch.save did not write, and unpickling it could execute code: load it where you trust it "
        "and save its state_dict with torch.save"
    )


def foreign_zip(names: Collection[str]) -> str:
    """The end of a sentence on a zip that is not of torch.save.

    Args:
        names: of the files in it.
    """
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return (
            "is a program of TorchScript (torch.jit.save), of which nothing is loaded: where you trust it, run "
            "torch.save(torch.jit.load(path).state_dict(), 'model.pt') and give that file"
        )
    if last & set(EXPORTED):
        return (
            "is a program of torch.export: where you trust it, run "
            "torch.save(torch.export.load(path).state_dict, 'model.pt') and give that file"
        )
    if "extern_modules" in last:
        return "is a package of torch.package, which holds code: load it where you trust it and save its state_dict"
    if "data.pkl" in names:
        return "was packed without the folder that torch.save puts all into: put its files into one and run zip -r -0"
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy arrays: {GIVE}"
    if inside := sorted(name for name in names if name.endswith(WEIGHT_SUFFIXES)):
        return f"is a zip of other files: unpack it and give what is in it, such as {inside[0]}"
    shown = ", ".join(sorted(names)[:3]) or "nothing"
    return f"is no whole file of torch.save but another zip, which holds {shown}; {GIVE}"


def foreign_content(content: Any, path: Path) -> str:
    """The end of a sentence on a file of torch.save without weights, which lies beside a model; empty for others.

    Args:
        content: what was loaded.
        path: of the file.
    """
    keys: Collection[Any] = content.keys() if isinstance(content, Mapping) else ()
    if path.name.endswith(DEEPSPEED_ENDS) or "ds_version" in keys:
        # DeepSpeed's script lies beside the folders of the steps.
        return deepspeed(path.parent.parent)
    beside = "no weights: give the model's file beside it"
    return next((f"holds {what}, {beside}" for marks, what in BESIDE.items() if set(marks) <= set(keys)), "")


def distributed(folder: Path) -> str:
    """The end of a sentence on a checkpoint of torch.distributed.checkpoint in a folder."""
    return (
        "is of a checkpoint of torch.distributed.checkpoint, whose weights lie in pieces: run "
        f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} model.pt and give that file"
    )


def deepspeed(folder: Path) -> str:
    """The end of a sentence on a folder in which DeepSpeed has left its script."""
    return (
        "is of a checkpoint of DeepSpeed, whose weights lie in pieces: run "
        f"python {folder / 'zero_to_fp32.py'} {folder} OUT and give the folder OUT"
    )
