"""The Triton kernel in Triton's interpreter, bit for bit, and compiled for the GPUs that it is for.

Both run in a process of their own: interpreting is decided when triton is imported, for the whole process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# gpu_tests use them too.
CASES = Path(__file__).parent.parent
# Of one block on an A100 and on an H100.
SHARED_BYTES = {"80": 163 * 1024, "90": 227 * 1024}


def facts_printed_by(script: str, cache: Path, interpreted: bool) -> dict[str, dict[str, Any]]:
    environment = os.environ | {"TRITON_CACHE_DIR": str(cache), "TRITON_INTERPRET": str(int(interpreted))}
    printed = subprocess.run(
        [sys.executable, CASES / script], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    return json.loads(printed)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each case of kernel_cases.py found."""
    return facts_printed_by("kernel_cases.py", tmp_path_factory.mktemp("triton"), interpreted=True)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each compilation of compiled_kernel.py made."""
    return facts_printed_by("compiled_kernel.py", tmp_path_factory.mktemp("triton"), interpreted=False)


def assert_all_true(cases: dict[str, dict[str, Any]], start: str, count: int) -> None:
    chosen = {name: facts for name, facts in cases.items() if name.startswith(start)}
    assert len(chosen) == count
    failed = {name: fact for name, facts in chosen.items() for fact, holds in facts.items() if holds is not True}
    assert failed == {}


@pytest.mark.parametrize(
    ("start", "count"),
    [
        # Sizes around the multiples of a block, two dtypes.
        ("gram (", 18),
        ("symmetric (", 18),
        # Strides and offsets of x and out, and of each of four operands, the contiguous case once.
        ("gram of", 25),
        ("symmetric of", 17),
        ("symmetric with", 4),
        ("far", 20),
    ],
)
def test_products_are_exact_and_symmetric_and_write_nothing_else(
    interpreted: dict[str, dict[str, Any]], start: str, count: int
) -> None:
    assert_all_true(interpreted, start, count)


@pytest.mark.parametrize("case", ["new out", "beta zero", "addend is out", "shared batch", "nan", "infinity", "empty"])
def test_special_operands_are_as_in_torch(interpreted: dict[str, dict[str, Any]], case: str) -> None:
    assert_all_true(interpreted, case, 1)


def test_sums_are_in_float32_and_rounded_once(interpreted: dict[str, dict[str, Any]]) -> None:
    # The interpreter cuts float32 off to bfloat16; GPUs round.
    assert interpreted["rounding"]["torch.float16"] <= 0.501
    assert interpreted["rounding"]["torch.bfloat16"] <= 1.001


def test_polar_express_of_these_products_is_that_of_float64(interpreted: dict[str, dict[str, Any]]) -> None:
    assert 0 < interpreted["iteration"]["wide"] < 0.01
    assert 0 < interpreted["iteration"]["tall"] < 0.01


ERRORS = {
    "float32": "left is (2, 3, 4) in torch.float32; it must be (batch, n, k) in torch.float16 or torch.bfloat16",
    "matrix": "left is (3, 4) in torch.float16; it must be (batch, n, k) in torch.float16 or torch.bfloat16",
    "dtypes": "right is (2, 4, 3) in torch.bfloat16 on cpu; it must be (2, 4, 3) in torch.float16 on cpu, like left",
    "right": "right is (2, 3, 4) in torch.float16 on cpu; it must be (2, 4, 3) in torch.float16 on cpu, like left",
    "addend": "addend is (2, 3, 4) in torch.float16 on cpu; it must be (2, 3, 3) in torch.float16 on cpu, like left",
    "device": "addend is (2, 3, 3) in torch.float16 on meta; it must be (2, 3, 3) in torch.float16 on cpu, like left",
    "out": "out is (1, 3, 3) in torch.float16 on cpu; it must be (2, 3, 3) in torch.float16 on cpu, like left",
    "out dtype": "out is (2, 3, 3) in torch.bfloat16 on cpu; it must be (2, 3, 3) in torch.float16 on cpu, like left",
    "out is left": "out is left or right, which other tiles still read; give out a buffer of its own",
}


def test_operands_that_do_not_fit_are_named_before_anything_is_written(
    interpreted: dict[str, dict[str, Any]],
) -> None:
    assert interpreted["errors"] == ERRORS | {"unwritten": "True"}


def test_every_configuration_compiles_to_tensor_cores_and_whole_words(compiled: dict[str, dict[str, Any]]) -> None:
    assert len(compiled) == 14
    for name, facts in compiled.items():
        capability = name[-2:]
        expected = {"80": "mma", "compute capability 10.0": "tcgen05"}.get(capability if "BLOCK" in name else name)
        assert facts["products"] == [expected or "wgmma"], name
        assert facts["bytes copied at once"] == [16], name
        assert facts["stores"] == [".v4.b32"], name
        assert set(facts["loads"]) <= {".v4.b32"}, name
        assert facts["shared bytes"] <= SHARED_BYTES.get(capability, SHARED_BYTES["90"]), name
        assert facts["machine code"] > 0, name
