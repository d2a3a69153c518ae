"""Read the weights of one safetensors file. The library checks the header before anything is mapped."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from steadydecay.inspection.stored_weight import StoredWeight, is_floating
from steadydecay.run_log.unicode_path import unicode_path

TYPE_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def listed_weights(path: Path) -> tuple[list[StoredWeight], list[str]]:
    """List the floating-point tensors in a file, and the names of its other tensors.

    Raises:
        ValueError: The file is not a complete safetensors file.
    """
    try:
        with unicode_path(path) as named, safe_open(named, "pt") as file:
            names = file.keys()
            slices = [(name, file.get_slice(name)) for name in names]
            described = [(name, tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices]
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}); it is truncated, damaged or in another format. "
            "Copy or download it again."
        ) from error
    typed = [StoredWeight(name, shape, TYPE_NAMES.get(dtype, dtype)) for name, shape, dtype in described]
    weights = [one for one in typed if is_floating(one.shape, one.dtype)]
    return weights, [one.name for one in typed if not is_floating(one.shape, one.dtype)]


def opened(path: Path) -> Callable[[str], Tensor]:
    """Map the file, and return a function from name to tensor. It is unmapped when that and its tensors are gone."""
    with unicode_path(path) as named:
        return safe_open(named, "pt").get_tensor
