"""The public names load on first use, and the package itself imports nothing heavy."""

import subprocess
import sys

import pytest

import steadydecay as sd


def run_python(program: str) -> str:
    """A fresh interpreter: in this one torch is long imported."""
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_and_its_theory_imports_no_torch() -> None:
    program = """
import sys, steadydecay as sd
assert "steadydecay.theory" not in sys.modules and "numpy" not in sys.modules
assert sd.theory.effective_lr(0.5, 0.0) == 0.5
assert dir(sd)
print("torch" in sys.modules)
"""
    assert run_python(program) == "False"


def test_an_optimizer_loads_torch_when_it_is_first_named() -> None:
    program = """
import sys, steadydecay as sd
before = "torch" in sys.modules
from steadydecay import ScionC
print(before, "torch" in sys.modules, sd.ScionC is ScionC, ScionC.__name__)
"""
    assert run_python(program) == "False True True ScionC"


@pytest.mark.parametrize("name", sd.__all__)
def test_every_public_name_loads_and_is_listed(name: str) -> None:
    assert getattr(sd, name) is getattr(sd, name)
    assert getattr(sd, name).__name__.rpartition(".")[2] == name
    assert name in dir(sd)


def test_the_names_of_the_contract_are_public() -> None:
    contract = {"Scion", "ScionC", "param_groups", "describe", "init_", "theory", "norms"}
    assert contract <= set(sd.__all__)
    assert len(sd.__all__) == len(set(sd.__all__))


def test_a_star_import_brings_the_public_names() -> None:
    assert run_python("from steadydecay import *; print(Scion.__name__, theory.__name__)") == "Scion steadydecay.theory"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'steadydecay' has no attribute 'ScionD'"):
        sd.ScionD  # noqa: B018
    assert not hasattr(sd, "__wrapped__")
    with pytest.raises(ImportError):
        from steadydecay import ScionD  # noqa: F401 # pyright: ignore[reportAttributeAccessIssue]
