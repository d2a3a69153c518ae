"""A Triton kernel for products known to be symmetric. It computes the tiles on and below the diagonal and writes each
twice.

This takes half the work of a general product. Importing this module imports triton; `TritonProducts` does so on demand.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs

DTYPES = (torch.float16, torch.bfloat16)
IS_INTERPRETED = knobs.runtime.interpret


def _configuration(block: int, block_k: int, warps: int, stages: int) -> triton.Config:
    return triton.Config({"BLOCK": block, "BLOCK_K": block_k}, num_warps=warps, num_stages=stages)


# These are chosen by hand from practice with tensor cores. The first call of each shape measures which of them wins.
CONFIGURATIONS = [
    _configuration(128, 64, warps=8, stages=3),
    _configuration(128, 64, warps=4, stages=3),
    _configuration(128, 32, warps=4, stages=4),
    _configuration(64, 64, warps=4, stages=4),
    _configuration(64, 32, warps=4, stages=4),
]
# Small tiles, so that small matrices have some on, below and above the diagonal.
INTERPRETED_CONFIGURATIONS = [_configuration(16, 16, warps=4, stages=1)]


@triton.jit
def _tile_of(index, tiles):
    """Return row and column of tile number `index` of the tiles·(tiles + 1)/2 on and below the diagonal.

    Row `tiles` - 1 - f and the f tiles of row f - 1 make up one line of a rectangle, so that no program is idle.
    """
    fold = index // tiles
    column = index % tiles
    long_row = tiles - 1 - fold
    is_long = column <= long_row
    return tl.where(is_long, long_row, fold - 1), tl.where(is_long, column, column - long_row - 1)


@triton.autotune(
    configs=INTERPRETED_CONFIGURATIONS if IS_INTERPRETED else CONFIGURATIONS,
    key=["n", "k", "HAS_ADDEND"],
    # `out` may be `addend`, and choosing a configuration runs the kernel many times.
    restore_value=["out"],
)
@triton.jit
def symmetric_product_kernel(
    left,
    right,
    addend,
    out,
    n,
    k,
    beta,
    alpha,
    left_batch,
    left_row,
    left_column,
    right_batch,
    right_row,
    right_column,
    addend_batch,
    addend_row,
    addend_column,
    out_batch,
    out_row,
    out_column,
    HAS_ADDEND: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute out = beta·addend + alpha·left·right for each n×n matrix of a stack, where left is n×k."""
    tiles = tl.cdiv(n, BLOCK)
    triangle = tiles * (tiles + 1) // 2
    row_tile, column_tile = _tile_of(tl.program_id(0) % triangle, tiles)
    rows = row_tile * BLOCK + tl.arange(0, BLOCK)
    columns = column_tile * BLOCK + tl.arange(0, BLOCK)
    is_inside = (rows < n)[:, None] & (columns < n)[None, :]

    # Use 64 bits, because a stack exceeds 2³¹ entries long before it fills a GPU.
    batch = (tl.program_id(0) // triangle).to(tl.int64)
    # Rows past the end wrap around to others of the same matrix, which needs no mask, and are never written.
    left_rows = (rows % n).to(tl.int64)
    right_columns = (columns % n).to(tl.int64)
    depth = tl.arange(0, BLOCK_K).to(tl.int64)
    left_tile = left + batch * left_batch + left_rows[:, None] * left_row + depth[None, :] * left_column
    right_tile = right + batch * right_batch + depth[:, None] * right_row + right_columns[None, :] * right_column
    left_advance = tl.full((), BLOCK_K, tl.int64) * left_column
    right_advance = tl.full((), BLOCK_K, tl.int64) * right_row

    product = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        is_deep = depth < k - start
        a = tl.load(left_tile, mask=is_deep[None, :], other=0.0)
        b = tl.load(right_tile, mask=is_deep[:, None], other=0.0)
        # The interpreter multiplies the bits of bfloat16 as integers. In float32 the products are the same: exact.
        if WIDEN:
            a = a.to(tl.float32)
            b = b.to(tl.float32)
        product = tl.dot(a, b, product)
        left_tile += left_advance
        right_tile += right_advance

    product *= alpha
    rows = rows.to(tl.int64)
    columns = columns.to(tl.int64)
    if HAS_ADDEND:
        addend_tile = addend + batch * addend_batch + rows[:, None] * addend_row + columns[None, :] * addend_column
        product += beta * tl.load(addend_tile, mask=is_inside, other=0.0).to(tl.float32)

    result = product.to(out.dtype.element_ty)
    out += batch * out_batch
    if row_tile == column_tile:
        # The two halves differ in rounding where left·right is symmetric only in exact arithmetic.
        result = tl.where(rows[:, None] >= columns[None, :], result, tl.trans(result))
    else:
        tl.store(out + columns[None, :] * out_row + rows[:, None] * out_column, result, mask=is_inside)
    tl.store(out + rows[:, None] * out_row + columns[None, :] * out_column, result, mask=is_inside)


def symmetric_product(
    left: Tensor,
    right: Tensor,
    addend: Tensor | None = None,
    beta: float = 0.0,
    alpha: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """Return beta·addend + alpha·left·right, which the caller knows to be symmetric. Products are summed in float32.

    Only the part on and below the diagonal is computed, and only that part of the addend is read; the rest is its
    mirror image, bit for bit. With beta = 0 the addend is not read. The first call of a shape on a GPU tries five
    configurations, so make it before capturing a CUDA graph.

    Args:
        left: A tensor (batch, n, k) in float16 or bfloat16 with any strides and alignment. It is slow unless these are
            multiples of 16.
        right: A tensor (batch, k, n) in the same dtype, on the same device.
        addend: A tensor (batch, n, n) in the same dtype, on the same device.
        beta, alpha: Numbers, which are rounded to float32.
        out: A tensor (batch, n, n) like `addend`, which is written to. It may be `addend`, but must not share memory
            with `left` or `right`.

    Raises:
        ValueError: An operand has another shape, dtype or device, or `out` is `left` or `right`. Nothing has been
            written.
    """
    if left.ndim != 3 or left.dtype not in DTYPES:
        raise ValueError(
            f"left is {tuple(left.shape)} in {left.dtype}; it must be (batch, n, k) in torch.float16 or torch.bfloat16"
        )
    batch, n, k = left.shape
    out = left.new_empty((batch, n, n)) if out is None else out
    summand = addend if beta != 0 else None
    _require("right", right, (batch, k, n), left)
    _require("out", out, (batch, n, n), left)
    if summand is not None:
        _require("addend", summand, (batch, n, n), left)
    if out.data_ptr() in (left.data_ptr(), right.data_ptr()) and out.numel() and k:
        raise ValueError("out is left or right, which other tiles still read; give out a buffer of its own")
    if out.numel() == 0:
        return out

    def grid(meta: dict[str, int]) -> tuple[int]:
        tiles = -(-n // meta["BLOCK"])
        return (batch * tiles * (tiles + 1) // 2,)

    has_addend = summand is not None
    summand = out if summand is None else summand
    strides = (*left.stride(), *right.stride(), *summand.stride(), *out.stride())
    # Triton launches on the current device, whatever device the tensors are on.
    with torch.cuda.device_of(out):
        symmetric_product_kernel[grid](
            left, right, summand, out, n, k, beta, alpha, *strides, HAS_ADDEND=has_addend, WIDEN=IS_INTERPRETED
        )
    return out


def _require(name: str, operand: Tensor, shape: tuple[int, ...], left: Tensor) -> None:
    """Check an operand, because the kernel does not: a wrong shape would make it access memory outside the tensors."""
    if (tuple(operand.shape), operand.dtype, operand.device) != (shape, left.dtype, left.device):
        raise ValueError(
            f"{name} is {tuple(operand.shape)} in {operand.dtype} on {operand.device}; "
            f"it must be {shape} in {left.dtype} on {left.device}, like left"
        )
