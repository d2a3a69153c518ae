"""The Triton kernel compiled to machine code for GPUs that are not here; no driver is asked.

Run as a program by test_triton_kernels.py: prints what each compilation made as JSON.
"""

import json
import re
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from steadydecay.polar.gpu.triton_kernels import CONFIGURATIONS, symmetric_product_kernel

KERNEL: Any = symmetric_product_kernel.fn
TENSORS = ("left", "right", "addend", "out")
CONSTANTS = ("HAS_ADDEND", "WIDEN", "BLOCK", "BLOCK_K")
UNIT_STRIDES = {
    "rows": ("left_column", "right_row", "addend_column", "out_column"),
    "columns": ("left_row", "right_column", "addend_column", "out_column"),
}


def compiled(
    configuration: triton.Config, capability: int, dtype: str = "fp16", layout: str = "rows", has_addend: bool = True
) -> Any:
    """As the first call with sides, strides and pointers that divide by 16 would: with one stride of 1 for each."""
    constants: dict[str, Any] = dict.fromkeys(UNIT_STRIDES[layout], 1)
    constants |= {"HAS_ADDEND": has_addend, "WIDEN": False, **configuration.kwargs}
    signature, attributes = {}, {}
    for index, name in enumerate(KERNEL.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in ("beta", "alpha"):
            signature[name] = "fp32"
        else:
            signature[name] = f"*{dtype}" if name in TENSORS else "i32"
            attributes[(index,)] = [["tt.divisibility", 16]]
    places = {(KERNEL.arg_names.index(name),): value for name, value in constants.items()}
    return triton.compile(
        ASTSource(KERNEL, signature, places, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": configuration.num_warps, "num_stages": configuration.num_stages},
    )


def facts(kernel: Any) -> dict[str, Any]:
    ptx = kernel.asm["ptx"]
    return {
        "products": sorted(set(re.findall(r"\b(mma|wgmma|tcgen05)\.\w+", ptx))),
        "bytes copied at once": sorted({int(size, 16) for size in re.findall(r"cp\.async\.c[ga]\..*?, (0x\w+)", ptx)}),
        "stores": sorted(set(re.findall(r"st\.global(\S*) ", ptx))),
        "loads": sorted(set(re.findall(r"ld\.global(\S*) ", ptx))),
        "shared bytes": kernel.metadata.shared,
        "machine code": len(kernel.asm["cubin"]),
    }


def table() -> dict[str, Any]:
    kernels = {
        f"{configuration} for {capability}": compiled(configuration, capability)
        for configuration in CONFIGURATIONS
        for capability in (80, 90)
    }
    first = CONFIGURATIONS[0]
    kernels |= {
        "bfloat16": compiled(first, 90, dtype="bf16"),
        "no addend": compiled(first, 90, has_addend=False),
        "transposed": compiled(first, 90, layout="columns", has_addend=False),
        "compute capability 10.0": compiled(first, 100),
    }
    return {name: facts(kernel) for name, kernel in kernels.items()}


if __name__ == "__main__":
    print(json.dumps(table()))
