"""Autocast: on where it is asked for, and under "auto" where the hardware is fast at it."""

import warnings

import pytest
import torch

from steadydecay.recipes.precision import PRECISIONS, autocast

CPU = torch.device("cpu")


def product_dtype(precision: str) -> torch.dtype:
    with autocast(precision, CPU):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_float32_stays_and_bfloat16_is_used_for_products() -> None:
    assert product_dtype("float32") == torch.float32
    assert product_dtype("bfloat16") == torch.bfloat16


@pytest.mark.parametrize("is_fast", [False, True])
def test_auto_asks_the_cpu(monkeypatch: pytest.MonkeyPatch, is_fast: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_fast)
    assert product_dtype("auto") == (torch.bfloat16 if is_fast else torch.float32)


def test_auto_is_bfloat16_on_cuda_and_asks_this_cpu_without_an_error() -> None:
    assert product_dtype("auto") in (torch.float32, torch.bfloat16)
    with warnings.catch_warnings():
        # Without a GPU torch says that it will not take effect.
        warnings.simplefilter("ignore")
        context = autocast("auto", torch.device("cuda"))
    assert (context.device, context.fast_dtype) == ("cuda", torch.bfloat16)


@pytest.mark.parametrize("precision", ["fp16", "", "Float32"])
def test_an_unknown_precision_is_refused(precision: str) -> None:
    with pytest.raises(
        ValueError, match=rf"precision is '{precision}'; it must be one of 'auto', 'float32', 'bfloat16'"
    ):
        autocast(precision, CPU)
    assert PRECISIONS == ("auto", "float32", "bfloat16")
