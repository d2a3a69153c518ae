"""The norms of arXiv 2502.07529 and their linear minimisation oracles, by name."""

import dataclasses
import math
from typing import Any

from steadydecay.norms.bias import Bias
from steadydecay.norms.col_norm import ColNorm
from steadydecay.norms.protocol import LmoBlock, Norm
from steadydecay.norms.row_norm import RowNorm
from steadydecay.norms.sign import Sign
from steadydecay.norms.spectral import Spectral
from steadydecay.norms.spectral_conv import SpectralConv

NORMS: dict[str, type[Norm]] = {
    "sign": Sign,
    "spectral": Spectral,
    "spectral_conv": SpectralConv,
    "bias": Bias,
    "col_norm": ColNorm,
    "row_norm": RowNorm,
}
"""The norms by the name that a parameter group gives in its key `norm`."""

# Names of the paper's own code that differ from ours by more than capitals (github.com/LIONS-EPFL/scion).
OTHER_NAMES = {"biasrms": "bias"}

NormSpec = str | dict[str, Any] | Norm
"""A choice of norm: "auto" or a key of `NORMS`, a dict {"name": key, **fields}, or any object that is a `Norm`."""


def norm_for(spec: NormSpec, ndim: int) -> Norm:
    """Return the norm that a group's `norm` specifies, for a parameter with `ndim` dimensions.

    Args:
        spec: A key of `NORMS`, "auto", a plain dict {"name": key, **fields}, or any object that is a `Norm`. "auto"
            gives "bias" for vectors, "spectral" for matrices, and "spectral_conv" for kernels of 4 or 5 dimensions.
            Keys are accepted in any spelling that `norm_name` understands.
        ndim: The number of dimensions of the parameter.

    Raises:
        ValueError: The name is unknown or missing, or it is "auto" for 3 dimensions, which may mean a stack of matrices
            or a 1-D kernel.
        TypeError: The norm does not have one of the fields.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, dict):
        return spec
    name, fields = norm_name(spec.get("name")), {key: value for key, value in spec.items() if key != "name"}
    if name == "auto":
        name = _automatic_name(ndim)
    if name not in NORMS:
        raise ValueError(f"norm is {name!r}; it must be one of 'auto', {', '.join(map(repr, NORMS))}")
    if name == "spectral_conv":
        fields = {"spatial_dims": ndim - 2} | fields
    return NORMS[name](**fields)


def norm_name(name: Any) -> Any:
    """Return the key of `NORMS`, or "auto", that a name means, ignoring capitals and underscores.

    Args:
        name: The name of a norm in any spelling, or one of the official Scion's names. Anything else is returned
            unchanged.

    >>> [norm_name(name) for name in ("SpectralConv", "BiasRMS", "COL_NORM", "Auto", "round")]
    ['spectral_conv', 'bias', 'col_norm', 'auto', 'round']
    """
    if not isinstance(name, str) or name in NORMS:
        return name
    known = {key.replace("_", ""): key for key in (*NORMS, "auto")} | OTHER_NAMES
    return known.get(name.lower().replace("_", ""), name)


def plain_spec(spec: NormSpec) -> NormSpec:
    """Return the same choice of norm as a string, or as a dict of its name and the fields that differ from their
    defaults.

    These are plain values, so that a state dict loads with `weights_only`. Names are the keys of `NORMS`.

    Args:
        spec: A choice of norm, as in `norm_for`. A norm that is not from this package is returned unchanged.
    """
    if isinstance(spec, str):
        return norm_name(spec)
    if isinstance(spec, dict):
        return spec | {"name": norm_name(spec["name"])} if "name" in spec else spec
    name = next((name for name, norm_type in NORMS.items() if type(spec) is norm_type), None)
    if name is None or not dataclasses.is_dataclass(spec):
        return spec
    every_field = {field.name: (field.default, getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    fields = {key: value for key, (default, value) in every_field.items() if value != default}
    return {"name": name, **fields} if fields else name


def fewest_dimensions(norm: Norm | type[Norm]) -> int:
    """Return how many dimensions a parameter needs to have this norm, or 0 if the norm does not say.

    Args:
        norm: A norm, or the class of one.

    >>> fewest_dimensions(Spectral()), fewest_dimensions(Bias)
    (2, 0)
    """
    return getattr(norm, "fewest_dimensions", 0)


def is_row_wise(norm: Norm) -> bool:
    """Return whether each row of an LMO depends on the same row of the gradient alone.

    Args:
        norm: Any `Norm`.

    >>> is_row_wise(Sign()), is_row_wise(ColNorm())
    (True, False)
    """
    dims = getattr(norm, "vector_dims", None)
    return dims is not None and set(dims) <= {-1}


def lmo_norm_sq(norm: Norm, shape: tuple[int, ...]) -> float:
    """Return ‖lmo(g)‖_F², summed over the batch, for a gradient of this shape and of full rank.

    Args:
        norm: Any `Norm`.
        shape: The shape of the gradient. Leading dimensions beyond those of one weight are a batch.

    >>> lmo_norm_sq(Spectral(), (2, 4, 4))
    8.0
    """
    return math.fsum(norm_sq for _, norm_sq in norm.lmo_blocks(shape))


def _automatic_name(ndim: int) -> str:
    if ndim == 3:
        remedy = "norm='spectral' for a stack of matrices or norm='spectral_conv' for a Conv1d kernel"
        raise ValueError(f"norm is 'auto', which is ambiguous for a parameter with 3 dimensions; give {remedy}")
    return {0: "bias", 1: "bias", 2: "spectral"}.get(ndim, "spectral_conv")


__all__ = [
    "NORMS",
    "Bias",
    "ColNorm",
    "LmoBlock",
    "Norm",
    "NormSpec",
    "RowNorm",
    "Sign",
    "Spectral",
    "SpectralConv",
    "fewest_dimensions",
    "is_row_wise",
    "lmo_norm_sq",
    "norm_for",
    "norm_name",
    "plain_spec",
]
