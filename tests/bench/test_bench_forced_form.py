"""A form that is named is the one that runs, and only for as long."""

from typing import Any

import pytest
import torch

from steadydecay.bench.forced_form import forced_form, one_lane
from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches import lanes
from steadydecay.optim.batches.alike_parts import AlikeParts
from steadydecay.optim.batches.parts import Part
from steadydecay.polar import polar_express
from steadydecay.polar.cost import workspace_bytes
from steadydecay.polar.forms import FORMS

# Of a shape for which "plain" is never chosen on a CPU.
MATRICES = torch.randn(2, 128, 512, generator=torch.Generator().manual_seed(0))


pytestmark = pytest.mark.usefixtures("has_fast_bfloat16")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.dtype]]:
    """Name and dtype of each form that runs."""
    calls: list[tuple[str, torch.dtype]] = []
    for name, form in list(FORMS.items()):

        def spy(x: torch.Tensor, *rest: Any, name: str = name, form: Any = form, **more: Any) -> torch.Tensor:
            calls.append((name, x.dtype))
            return form(x, *rest, **more)

        monkeypatch.setitem(FORMS, name, spy)
    return calls


@pytest.mark.parametrize("name", FORMS)
def test_the_named_form_runs_and_afterwards_the_chosen_one(name: str, used: list[tuple[str, torch.dtype]]) -> None:
    polar_express(MATRICES)
    with forced_form(name):
        result = polar_express(MATRICES)
    polar_express(MATRICES)
    chosen, forced, after = used
    assert forced[0] == name
    assert chosen == after
    assert chosen[0] != "plain"
    assert float(torch.linalg.svdvals(result).max()) < 1.25


def test_forms_of_float32_run_in_float32(used: list[tuple[str, torch.dtype]]) -> None:
    for name in [name for name in FORMS if name.endswith("float32")]:
        with forced_form(name):
            polar_express(MATRICES)
    assert used
    assert {dtype for _, dtype in used} == {torch.float32}


def test_costs_are_of_the_named_form(has_fast_bfloat16: bool) -> None:
    chosen = workspace_bytes(MATRICES, 5)
    with forced_form("gram_float32"):
        in_float32 = workspace_bytes(MATRICES, 5)
    with forced_form("gram_bfloat16", torch.bfloat16):
        in_bfloat16 = workspace_bytes(MATRICES, 5)
    assert chosen == (in_bfloat16 if has_fast_bfloat16 else in_float32)
    assert in_float32 >= 1.5 * in_bfloat16
    with forced_form("plain", torch.float32):
        assert workspace_bytes(MATRICES, 5) > in_float32
    assert workspace_bytes(MATRICES, 5) == chosen


def test_an_error_inside_ends_it_too(used: list[tuple[str, torch.dtype]]) -> None:
    with pytest.raises(ValueError, match="shape"), forced_form("plain"):
        polar_express(torch.zeros(3))
    polar_express(MATRICES)
    assert used[0][0] != "plain"


def test_one_lane_is_only_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    weight = torch.empty(2)
    work = [AlikeParts([Part(weight, weight, weight, None)] * 40, LmoCost(lanes.LEAST_OF_ALL, 1), 0, False)]
    assert lanes.lanes_for(work, 10) == 2
    with pytest.raises(OSError), one_lane():
        assert lanes.lanes_for(work, 10) == 1
        raise OSError
    assert lanes.lanes_for(work, 10) == 2
