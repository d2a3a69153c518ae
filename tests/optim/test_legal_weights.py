"""Complex weights are stepped as their real view or refused with their name, and so is every dtype without a step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_contract import same_bits, values
from torch import Tensor, nn

import steadydecay as sd

SETTINGS: dict[str, Any] = {"weight_decay": 0.5, "decay": "corrected"}
Build = Callable[..., torch.optim.Optimizer]
ELEMENTWISE: dict[str, Build] = {
    "lion": lambda params, **keys: sd.Lion(params, 0.1, (0.8, 0.9), **SETTINGS, **keys),
    "lion_alone": lambda params, **keys: sd.Lion(params, 0.1, (0.8, 0.9), **SETTINGS, foreach=False, **keys),
    "sgdw": lambda params, **keys: sd.SGDW(params, 0.1, 0.9, **SETTINGS, **keys),
    "sgdw_nesterov": lambda params, **keys: sd.SGDW(params, 0.1, 0.9, nesterov=True, **SETTINGS, **keys),
    "adamc": lambda params, **keys: sd.AdamC(params, 0.1, **SETTINGS, **keys),
    "adamc_foreach": lambda params, **keys: sd.AdamC(params, 0.1, foreach=True, **SETTINGS, **keys),
    "renormalized": lambda params, **keys: sd.RenormalizedAdamW(params, 0.1, **SETTINGS, **keys),
}
NORMS = ["auto", "sign", "bias", "spectral", "row_norm", "col_norm"]


def complex_gradient(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
# The last two are large enough to go alone, in slices.
@pytest.mark.parametrize("shapes", [[(4, 3), (6,), ()], [(5, 1, 2, 3)], [(300, 300), (4,)]], ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_complex_weight_steps_as_its_real_view(name: str, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    weights = [nn.Parameter(complex_gradient(shape, 7, dtype)) for shape in shapes]
    twins = [nn.Parameter(torch.view_as_real(weight.detach()).clone()) for weight in weights]
    optimizer, of_twins = (ELEMENTWISE[name](params) for params in (weights, twins))
    for step in range(4):
        for group in (*optimizer.param_groups, *of_twins.param_groups):
            group["lr"] = 0.1 / (1 + step)
        for index, (weight, twin) in enumerate(zip(weights, twins, strict=True)):
            weight.grad = complex_gradient(tuple(weight.shape), 10 * step + index, dtype)
            twin.grad = torch.view_as_real(weight.grad).clone()
        optimizer.step()
        of_twins.step()
    for weight, twin in zip(weights, twins, strict=True):
        torch.testing.assert_close(torch.view_as_real(weight.detach()), twin.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_gradient_may_be_a_lazy_conjugate(name: str) -> None:
    lazy, plain = (nn.Parameter(torch.ones(4, 3, dtype=torch.complex64)) for _ in range(2))
    gradient = complex_gradient((4, 3), 0, torch.complex64)
    lazy.grad, plain.grad = gradient.conj(), gradient.conj().resolve_conj()
    if name.startswith(("adamc", "renormalized")):
        # torch's AdamW takes none.
        lazy.grad = lazy.grad.resolve_conj()
    for weight in (lazy, plain):
        ELEMENTWISE[name]([weight]).step()
    assert torch.equal(lazy, plain)
    assert not torch.equal(lazy, torch.ones_like(lazy))


def test_complex_and_real_weights_share_a_group_and_a_checkpoint() -> None:
    ends = []
    for is_resumed in (False, True):
        weights = [nn.Parameter(complex_gradient((4, 3), 1, torch.complex64)), nn.Parameter(torch.ones(4, 3))]
        optimizer: Any = sd.Lion(weights, 0.1, weight_decay=0.5)
        for step in range(4):
            if is_resumed and step == 2:
                saved, optimizer = optimizer.state_dict(), sd.Lion(weights, 1.0)
                optimizer.load_state_dict(saved)
            weights[0].grad = complex_gradient((4, 3), step, torch.complex64)
            weights[1].grad = weights[0].grad.real.clone()
            optimizer.step()
        ends.append([torch.view_as_real(weights[0].detach()), weights[1].detach()])
    assert same_bits(*ends)


def test_renormalized_norm_of_a_complex_weight_lacks_the_perpendicular_part() -> None:
    weight = nn.Parameter(complex_gradient((30, 20), 0, torch.complex64))
    optimizer = sd.RenormalizedAdamW([weight], lr=0.1, weight_decay=0.5)
    for step in range(5):
        before = torch.linalg.vector_norm(weight.detach()).item()
        weight.grad = complex_gradient((30, 20), step, torch.complex64)
        optimizer.step()
        parallel = optimizer.state[weight]["update_parallel"]
        assert not parallel.is_complex()
        wanted = abs(0.95 * before - 0.1 * parallel.item())
        assert torch.linalg.vector_norm(weight.detach()).item() == pytest.approx(wanted, rel=1e-5)
    assert torch.linalg.vector_norm(weight.detach()) > 10


# --- refusals ---


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("optimizer_class", [sd.Scion, sd.ScionC])
def test_a_norm_has_no_complex_weights(optimizer_class: Build, norm: str) -> None:
    weight = nn.Parameter(torch.ones(4, 3, dtype=torch.complex64))
    message = r"parameter 'block\.w' of shape \(4, 3\) is complex64, which .*cannot step; .*Lion, SGDW or AdamC"
    with pytest.raises(ValueError, match=message):
        optimizer_class([("block.w", weight)], lr=0.1, norm=norm)
    optimizer = optimizer_class([nn.Parameter(torch.ones(2, 2))], lr=0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [weight], "param_names": ["block.w"], "norm": norm})
    assert len(optimizer.param_groups) == 1
    assert weight not in optimizer.state


@pytest.mark.parametrize(
    ("build", "dtype"),
    [
        (sd.Lion, torch.complex32),
        (sd.SGDW, torch.complex32),
        (sd.AdamC, torch.complex32),
        (sd.RenormalizedAdamW, torch.float8_e4m3fn),
        (sd.AdamC, torch.float8_e5m2),
        (sd.Lion, torch.float8_e4m3fn),
        (sd.Scion, torch.float8_e5m2),
    ],
)
def test_a_dtype_without_a_step_is_refused(build: Build, dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.ones(3).to(dtype))
    with pytest.raises(ValueError, match=rf"parameter 0 .*of shape \(3,\) is {str(dtype)[6:]}, which .* cannot step"):
        build([weight], lr=0.1)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.complex64])
def test_a_frozen_weight_of_any_dtype_is_let_be_until_it_has_a_gradient(dtype: torch.dtype) -> None:
    frozen = nn.Parameter(torch.ones(2, 2).to(dtype), requires_grad=False)
    trained = nn.Parameter(torch.ones(2, 2))
    optimizer = sd.Scion([{"params": [trained]}, {"params": [frozen]}], lr=0.1)
    trained.grad = torch.ones(2, 2)
    optimizer.step()
    before = values([trained])
    assert not torch.equal(trained, torch.ones(2, 2))
    frozen.grad = torch.ones_like(frozen)
    with pytest.raises(ValueError, match=r"parameter 0 of group 1, of shape \(2, 2\) is .*, which Scion cannot step"):
        optimizer.step()
    assert same_bits([trained], before)


def test_a_weight_that_becomes_complex_is_refused_before_any_moves() -> None:
    weights = [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    optimizer = sd.Scion([{"params": [weight]} for weight in weights], lr=0.1)
    weights[1].data = weights[1].data.to(torch.complex64)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with pytest.raises(ValueError, match="is complex64, which Scion cannot step"):
        optimizer.step()
    assert torch.equal(weights[0], torch.ones(2, 2))


UNWRITABLE: dict[str, tuple[Callable[[], Tensor], str]] = {
    "expanded": (lambda: torch.ones(1, 2).expand(2, 2), "has entries that share memory"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "has the layout torch.sparse_coo"),
    "negated": (lambda: torch.ones(2, 2, dtype=torch.complex64).conj().imag, "is a view with another sign"),
}


@pytest.mark.parametrize("build", [*ELEMENTWISE.values(), sd.Scion], ids=[*ELEMENTWISE, "scion"])
@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_weight_whose_entries_cannot_be_written_one_by_one_is_refused(case: str, build: Build) -> None:
    """Else the step would end in torch's error when other groups have moved."""
    make, fault = UNWRITABLE[case]
    keys = {"lr": 0.1} if build is sd.Scion else {}
    with pytest.raises(ValueError, match=rf"parameter 1 of its group, of shape \(2, 2\) .* it {fault}.*; it must be"):
        build([nn.Parameter(torch.ones(2, 2)), nn.Parameter(make())], **keys)
    if case != "sparse":
        build([nn.Parameter(torch.ones(2, 2)), nn.Parameter(make(), requires_grad=False)], **keys)


# --- initialisation ---


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int64])
@pytest.mark.parametrize("name", sd.norms.NORMS)
def test_a_norm_fills_no_weight_that_is_not_real(name: str, dtype: torch.dtype) -> None:
    weight = torch.ones(3, 2, 2, 2, dtype=dtype)
    with pytest.raises(ValueError, match=f"has dtype {str(dtype)[6:]}, but norms only initialise real weights"):
        sd.norms.NORMS[name]().init_(weight)
    assert torch.equal(weight, torch.ones_like(weight))


def test_init_refuses_a_complex_weight_by_name_and_changes_none() -> None:
    model = nn.ModuleDict({"real": nn.Linear(3, 3), "unitary": nn.Linear(3, 3, dtype=torch.complex64)})
    groups, before = sd.param_groups(model, "scion", lr=0.1, output=False), values(list(model.parameters()))
    with pytest.raises(ValueError, match=r"parameter 'unitary\.weight' of shape \(3, 3\) has dtype complex64"):
        sd.init_(groups)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
