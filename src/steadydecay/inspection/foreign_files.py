"""Describe files whose weights are not stored as safetensors or torch.save write them, and say what to do with them."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

GIVE = "give a .safetensors file or one from torch.save"
# torch.distributed.checkpoint writes this beside the .distcp files of each process.
METADATA = ".metadata"
DISTRIBUTED_SUFFIX = ".distcp"
# The first bytes of a file, what the file is, and what to do.
STARTS = {
    b"GGUF": f"is a GGUF file of llama.cpp; {GIVE}, from which it was converted",
    b"version https://git-lfs": "is a Git LFS pointer instead of the file itself; run git lfs pull beside it",
    b"\x89HDF\r\n": f"is an HDF5 file, as Keras and h5py write it; {GIVE}",
    b"\x93NUMPY": f"is a NumPy array; {GIVE}",
    b"<!doctype": "is a web page instead of the file itself; download the file again",
    b"<html": "is a web page instead of the file itself; download the file again",
    b"\x1f\x8b": "is compressed with gzip; unpack it with gunzip and give its content",
    b"BZh": "is compressed with bzip2; unpack it with bunzip2 and give its content",
    b"\xfd7zXZ": "is compressed with xz; unpack it with unxz and give its content",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it with unzstd and give its content",
    b"7z\xbc\xaf": "is a 7z archive; unpack it and give its content",
}
DEEPSPEED_ENDS = ("_optim_states.pt", "_model_states.pt")
# The keys of a dict, and what it is.
BESIDE = {
    ("last_epoch", "_step_count"): "the state of a learning rate schedule",
    ("growth_factor", "backoff_factor"): "the state of a GradScaler",
}
TAR_MARK = slice(257, 262)
# Enough bytes to recognise a file.
START_BYTES = 512
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
EXPORTED = ("archive_format", "serialized_exported_program.json", "serialized_state_dict.pt")


def foreign(start: bytes, suffix: str) -> str:
    """Describe a file as the end of a sentence that begins with its name; return "" for what may be safetensors.

    Args:
        start: The first `START_BYTES` bytes of the file.
        suffix: The suffix of its name.
    """
    if not start:
        return f"is empty (0 bytes); {GIVE}"
    if start[TAR_MARK] == b"ustar":
        return "is a tar archive; unpack it and give its content"
    for mark, told in STARTS.items():
        if start[: len(mark)].lower() == mark.lower():
            return told
    neither = f"is neither safetensors nor a file of torch.save: it starts with {start[:9]!r}; {GIVE}"
    return "" if suffix == ".safetensors" else neither


def foreign_pickle(path: Path) -> str:
    """Describe a pickle that torch.save did not write, as the end of a sentence."""
    if path.name == METADATA:
        return distributed(path.parent)
    return (
        "is a pickle that torch.save did not write, and unpickling it could execute code. If you trust it, load it "
        "yourself and save its state_dict with torch.save"
    )


def foreign_zip(names: Collection[str]) -> str:
    """Describe a zip that torch.save did not write, as the end of a sentence.

    Args:
        names: The names of the files in it.
    """
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return (
            "is a TorchScript program (torch.jit.save), which is never loaded. If you trust it, run "
            "torch.save(torch.jit.load(path).state_dict(), 'model.pt') and give that file"
        )
    if last & set(EXPORTED):
        return (
            "is a program of torch.export. If you trust it, run "
            "torch.save(torch.export.load(path).state_dict, 'model.pt') and give that file"
        )
    if "extern_modules" in last:
        return "is a package of torch.package, which contains code. If you trust it, load it and save its state_dict"
    if "data.pkl" in names:
        return "was packed without the folder that torch.save uses; put its files into a folder and run zip -r -0"
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy arrays; {GIVE}"
    if inside := sorted(name for name in names if name.endswith(WEIGHT_SUFFIXES)):
        return f"is a zip of other files; unpack it and give its content, such as {inside[0]}"
    shown = ", ".join(sorted(names)[:3]) or "nothing"
    return f"is not a complete file of torch.save but another zip, which contains {shown}; {GIVE}"


def foreign_content(content: Any, path: Path) -> str:
    """Describe a file of torch.save without weights, which belongs beside a model; return "" for other files.

    Args:
        content: What was loaded.
        path: The path of the file.
    """
    keys: Collection[Any] = content.keys() if isinstance(content, Mapping) else ()
    if path.name.endswith(DEEPSPEED_ENDS) or "ds_version" in keys:
        # DeepSpeed's script is beside the folders of the steps.
        return deepspeed(path.parent.parent)
    beside = "but no weights; give the model's file beside it"
    return next((f"contains {what}, {beside}" for marks, what in BESIDE.items() if set(marks) <= set(keys)), "")


def distributed(folder: Path) -> str:
    """Describe a checkpoint of torch.distributed.checkpoint in a folder, as the end of a sentence."""
    return (
        "is part of a checkpoint of torch.distributed.checkpoint, whose weights are stored in pieces; run "
        f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} model.pt and give that file"
    )


def deepspeed(folder: Path) -> str:
    """Describe a folder in which DeepSpeed has left its script, as the end of a sentence."""
    return (
        "is part of a DeepSpeed checkpoint, whose weights are stored in pieces; run "
        f"python {folder / 'zero_to_fp32.py'} {folder} OUT and give the folder OUT"
    )
