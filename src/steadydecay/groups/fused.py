"""Find out which matrices a parameter holds: fused along d_out, stacked, or stored as (d_in, d_out)."""

from torch import Tensor, nn

from steadydecay.groups.places import class_names, plain_name
from steadydecay.norms import NormSpec

# Names under which common models keep several matrices with the same input in one weight.
SQUARE_BLOCKS = {"qkv", "Wqkv", "c_attn", "in_proj", "in_proj_weight"}
TWO_BLOCKS = {"gate_up_proj", "Wi", "w12", "gate_up"}


def spectral_spec(name: str, weight: Tensor, owner: nn.Module) -> NormSpec:
    """Return the Spectral norm that gives each matrix in `weight` an LMO of its own.

    Query, key and value in one weight of 3d rows are three matrices, and gate and up projections of 2f rows are two.
    Weights in the order (d_in, d_out), such as those of GPT-2's Conv1D and transposed experts, are marked so. Weights
    whose blocks are interleaved head by head, or whose sizes only the configuration knows, count as one matrix.

    Args:
        name: The name of the parameter in the model, wrapped or not.
        weight: A tensor (..., d_out, d_in), or transposed. Leading dimensions stack matrices.
        owner: The module that the weight is a parameter of.
    """
    is_transposed = "Conv1D" in class_names(owner) or bool(getattr(owner, "is_transposed", False))
    rows, columns = weight.shape[-2:] if not is_transposed else (weight.shape[-1], weight.shape[-2])
    sizes = split_sizes(name, rows, columns, is_interleaved=not getattr(owner, "is_concatenated", True))
    options = {"transposed": True} if is_transposed else {}
    options |= {"split_sizes": sizes} if sizes else {}
    return {"name": "spectral", **options} if options else "spectral"


def split_sizes(name: str, rows: int, columns: int, is_interleaved: bool = False) -> tuple[int, ...] | None:
    """Return the rows of each of several matrices in a weight (rows, columns) of this name, or None if it is one.

    >>> split_sizes("h.0.attn.qkv.weight", 24, 8), split_sizes("h.0.mlp.up.weight", 24, 8)
    ((8, 8, 8), None)
    """
    leaf = _leaf(name)
    if leaf in SQUARE_BLOCKS and rows in (2 * columns, 3 * columns):
        return (columns,) * (rows // columns)
    if leaf in TWO_BLOCKS and rows % 2 == 0 and not is_interleaved:
        return (rows // 2, rows // 2)
    return None


def _leaf(name: str) -> str:
    """Return the part of the name that says what the weight is: "attn.Wqkv.weight" is a Wqkv."""
    path, _, last = plain_name(name).rpartition(".")
    return path.rpartition(".")[2] if last == "weight" else last
