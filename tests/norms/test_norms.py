"""The contract of a norm, over a table: a new norm is tested by being listed in `ROWS`."""

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from steadydecay.norms import (
    NORMS,
    Bias,
    ColNorm,
    LmoBlock,
    Norm,
    NormSpec,
    RowNorm,
    Sign,
    Spectral,
    SpectralConv,
    fewest_dimensions,
    is_row_wise,
    lmo_norm_sq,
    norm_for,
    plain_spec,
)
from steadydecay.polar import exact_polar
from steadydecay.theory import correlation
from step_costs import peak_bytes

Row = tuple[Norm, tuple[int, ...]]

# Twelve steps bring any singular value above 1e-4 of the whole to 1 within the last digits of float64.
CONVERGED = 12

ROWS: list[Row] = [
    (Sign(), (6, 8)),
    (Sign(), (1, 5)),
    (Sign(), (5, 1)),
    (Sign(), (3, 4, 4)),
    (ColNorm(), (6, 8)),
    (ColNorm(), (1, 5)),
    (ColNorm(), (5, 1)),
    (ColNorm(), (3, 4, 5)),
    (RowNorm(), (6, 8)),
    (RowNorm(), (1, 5)),
    (RowNorm(), (5, 1)),
    (RowNorm(), (3, 4, 5)),
    (Bias(), ()),
    (Bias(), (1,)),
    (Bias(), (9,)),
    (Bias(), (4, 9)),
    (Spectral(steps=CONVERGED), (6, 6)),
    (Spectral(steps=CONVERGED), (5, 9)),
    (Spectral(steps=CONVERGED), (9, 5)),
    (Spectral(steps=CONVERGED), (1, 7)),
    (Spectral(steps=CONVERGED), (7, 1)),
    (Spectral(steps=CONVERGED), (1, 1)),
    (Spectral(steps=CONVERGED), (3, 5, 5)),
    (Spectral(steps=CONVERGED), (2, 3, 4, 6)),
    (Spectral(scale="max", steps=CONVERGED), (5, 9)),
    (Spectral(scale="max", steps=CONVERGED), (9, 5)),
    (Spectral(scale="none", steps=CONVERGED), (5, 9)),
    (Spectral(scale="none", steps=CONVERGED), (9, 5)),
    (Spectral(split_sizes=(4, 4, 4), steps=CONVERGED), (12, 4)),
    (Spectral(split_sizes=(6, 2, 1), steps=CONVERGED), (9, 4)),
    (Spectral(split_sizes=(6, 2, 1), scale="max", steps=CONVERGED), (2, 9, 4)),
    (Spectral(split_sizes=(3, 5), scale="none", steps=CONVERGED), (8, 4)),
    (SpectralConv(spatial_dims=1, steps=CONVERGED), (6, 4, 3)),
    (SpectralConv(spatial_dims=2, steps=CONVERGED), (6, 4, 3, 3)),
    (SpectralConv(spatial_dims=2, steps=CONVERGED), (20, 2, 2, 3)),
    (SpectralConv(spatial_dims=2, steps=CONVERGED), (5, 3, 1, 1)),
    (SpectralConv(spatial_dims=3, steps=CONVERGED), (4, 2, 3, 2, 2)),
    (SpectralConv(spatial_dims=1, steps=CONVERGED), (2, 6, 4, 3)),
]


def label(value: Any) -> str | None:
    if not dataclasses.is_dataclass(value):
        return "x".join(map(str, value)) if isinstance(value, tuple) else None
    fields = [f"{field.name}={getattr(value, field.name)}" for field in dataclasses.fields(value)]
    return "-".join([type(value).__name__, *(field for field in fields if not field.startswith("steps"))])


every_row = pytest.mark.parametrize(("norm", "shape"), ROWS, ids=label)
spectral_rows = pytest.mark.parametrize(
    ("norm", "shape"), [row for row in ROWS if isinstance(row[0], Spectral | SpectralConv)], ids=label
)
# A stack of scalars is a vector.
stackable_rows = pytest.mark.parametrize(("norm", "shape"), [row for row in ROWS if row[1]], ids=label)
row_wise_rows = pytest.mark.parametrize(
    ("norm", "shape"), [row for row in ROWS if is_row_wise(row[0]) and len(row[1]) >= 2], ids=label
)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)


def gradient(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def inner(norm: Norm, a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ over the entries of each weight of a batch."""
    batch_shape = norm.norm(a).shape
    return (a * b).reshape(*batch_shape, -1).sum(dim=-1)


def strided(x: Tensor) -> Tensor:
    """The same numbers, every second entry of their storage."""
    return torch.stack([x, torch.full_like(x, 7)], dim=-1)[..., 0]


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_table_covers_every_norm() -> None:
    assert {type(norm) for norm, _ in ROWS} == set(NORMS.values())


@row_wise_rows
def test_an_lmo_of_rows_is_the_rows_of_the_lmo(norm: Norm, shape: tuple[int, ...]) -> None:
    whole = gradient(shape)
    assert_near(norm.lmo(whole[..., 1:, :]), norm.lmo(whole)[..., 1:, :])


@every_row
def test_a_norm_has_every_shape_of_its_fewest_dimensions(norm: Norm, shape: tuple[int, ...]) -> None:
    assert fewest_dimensions(norm) <= len(shape)


@every_row
def test_lmo_has_norm_one(norm: Norm, shape: tuple[int, ...]) -> None:
    of_lmo = norm.norm(norm.lmo(gradient(shape)))
    assert_near(of_lmo, torch.ones_like(of_lmo))


@every_row
def test_lmo_attains_the_dual_norm(norm: Norm, shape: tuple[int, ...]) -> None:
    g = gradient(shape)
    assert_near(inner(norm, g, norm.lmo(g)), norm.dual_norm(g))


@every_row
def test_no_other_direction_exceeds_the_dual_norm(norm: Norm, shape: tuple[int, ...]) -> None:
    g = gradient(shape)
    limit = norm.dual_norm(g)
    for seed in range(1, 21):
        other = gradient(shape, seed)
        assert (inner(norm, g, other).abs() <= limit * norm.norm(other) * (1 + 1e-12)).all()
        assert (inner(norm, g, norm.lmo(other)).abs() <= limit * (1 + 1e-10)).all()


@every_row
def test_norm_is_absolutely_homogeneous(norm: Norm, shape: tuple[int, ...]) -> None:
    w = gradient(shape)
    assert_near(norm.norm(-3 * w), 3 * norm.norm(w))
    assert_near(norm.dual_norm(-3 * w), 3 * norm.dual_norm(w))


@every_row
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lmo_does_not_see_the_scale(norm: Norm, shape: tuple[int, ...], scale: float) -> None:
    g = gradient(shape).float()
    assert_near(norm.lmo(g * scale), norm.lmo(g), tolerance=1e-4)


@every_row
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_power_of_two_changes_no_bit_of_the_lmo(
    norm: Norm, shape: tuple[int, ...], scale: float, dtype: torch.dtype
) -> None:
    g = gradient(shape).to(dtype)
    assert torch.equal(norm.lmo(g * scale), norm.lmo(g))


@every_row
@dtypes
@pytest.mark.parametrize("layout", [torch.clone, strided])
def test_arguments_are_unchanged_and_not_shared(
    norm: Norm, shape: tuple[int, ...], dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    g = layout(gradient(shape).to(dtype))
    before = g.clone()
    norm.norm(g).zero_()
    norm.dual_norm(g).zero_()
    norm.lmo(g).zero_()
    assert torch.equal(g, before)


@stackable_rows
def test_batch_is_a_loop(norm: Norm, shape: tuple[int, ...]) -> None:
    weights = [gradient(shape, seed) for seed in range(3)]
    batch = torch.stack(weights)
    methods: list[Callable[[Tensor], Tensor]] = [norm.lmo, norm.norm, norm.dual_norm]
    for method in methods:
        assert_near(method(batch), torch.stack([method(weight) for weight in weights]))


@stackable_rows
def test_lmo_norm_of_a_batch_is_the_sum(norm: Norm, shape: tuple[int, ...]) -> None:
    assert lmo_norm_sq(norm, (3, *shape)) == pytest.approx(3 * lmo_norm_sq(norm, shape), rel=1e-14)


@every_row
@dtypes
def test_zero_gradient_gives_zero(norm: Norm, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    zero = torch.zeros(shape, dtype=dtype)
    assert torch.equal(norm.lmo(zero), zero)
    assert not norm.dual_norm(zero).any()
    assert not norm.norm(zero).any()


@stackable_rows
def test_zero_gradient_in_a_batch_stays_alone(norm: Norm, shape: tuple[int, ...]) -> None:
    g = gradient(shape)
    zero, other = norm.lmo(torch.stack([torch.zeros_like(g), g]))
    assert not zero.any()
    assert_near(other, norm.lmo(g))


@pytest.mark.parametrize("norm", [Sign(), ColNorm(), RowNorm(), Bias()], ids=repr)
def test_an_lmo_of_vectors_takes_no_memory_but_its_own(norm: Norm) -> None:
    gradient = torch.randn(64, 256)
    assert peak_bytes(lambda: norm.lmo(gradient)) < 1.5 * gradient.nbytes


@every_row
@dtypes
def test_lmo_keeps_dtype_and_shape(norm: Norm, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    u = norm.lmo(gradient(shape).to(dtype))
    assert (u.dtype, u.shape) == (dtype, shape)


@every_row
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)], ids=str)
def test_lmo_of_low_precision_still_has_norm_one(
    norm: Norm, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    of_lmo = norm.norm(norm.lmo(gradient(shape).to(dtype)).double())
    assert_near(of_lmo, torch.ones_like(of_lmo), tolerance)


@every_row
def test_non_contiguous_gradient_is_the_same_gradient(norm: Norm, shape: tuple[int, ...]) -> None:
    g = gradient(shape)
    methods: list[Callable[[Tensor], Tensor]] = [norm.lmo, norm.norm, norm.dual_norm]
    for method in methods:
        assert_near(method(strided(g)), method(g))


def emptied(norm: Norm, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    has_fixed_rows = isinstance(norm, Spectral) and norm.split_sizes is not None
    dims = [dim for dim in range(len(shape)) if not (has_fixed_rows and dim == len(shape) - 2)]
    return [(*shape[:dim], 0, *shape[dim + 1 :]) for dim in dims]


@stackable_rows
def test_empty_weight_is_legal(norm: Norm, shape: tuple[int, ...]) -> None:
    for empty_shape in emptied(norm, shape):
        empty = torch.empty(empty_shape)
        assert norm.lmo(empty).shape == empty_shape
        assert norm.init_(empty) is empty
        assert lmo_norm_sq(norm, empty_shape) == 0


@every_row
def test_lmo_norm_sq_is_the_squared_frobenius_norm(norm: Norm, shape: tuple[int, ...]) -> None:
    measured = float(norm.lmo(gradient(shape)).square().sum())
    assert lmo_norm_sq(norm, shape) == pytest.approx(measured, rel=1e-10)


@stackable_rows
def test_blocks_are_as_correlated_as_the_lmo(norm: Norm, shape: tuple[int, ...]) -> None:
    """⟨lmo(A), lmo(B)⟩ for Gaussian A, B whose entries have correlation 0.8, over many draws."""
    generator = torch.Generator().manual_seed(0)
    first, other = torch.randn(2, 3000, *shape, dtype=torch.float64, generator=generator)
    products = (norm.lmo(first) * norm.lmo(0.8 * first + 0.6 * other)).flatten(start_dim=1).sum(dim=1)
    expected = math.fsum(norm_sq * correlation(0.8, lmo) for lmo, norm_sq in norm.lmo_blocks(shape))
    standard_error = products.std().item() / math.sqrt(len(products))
    # Small matrices: the fit of theory.polar_series and the Polar Express are each right to about half a percent.
    assert products.mean().item() == pytest.approx(expected, rel=0.012, abs=4 * standard_error)


@every_row
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)], ids=str)
def test_init_writes_norm_one_in_place(
    norm: Norm, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    weight = torch.full(shape, 7.0, dtype=dtype)
    address = weight.data_ptr()
    assert norm.init_(weight) is weight
    assert (weight.data_ptr(), weight.dtype, weight.shape) == (address, dtype, shape)
    of_weight = norm.norm(weight.double())
    assert_near(of_weight, torch.ones_like(of_weight), tolerance)


@every_row
def test_init_of_a_parameter_leaves_no_trace_in_autograd(norm: Norm, shape: tuple[int, ...]) -> None:
    parameter = torch.nn.Parameter(torch.full(shape, 7.0))
    assert norm.init_(parameter) is parameter
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert_near(norm.norm(parameter.detach()), torch.ones_like(norm.norm(parameter.detach())), 1e-5)


@every_row
def test_init_of_a_view_writes_to_the_view_alone(norm: Norm, shape: tuple[int, ...]) -> None:
    storage = torch.full((*shape, 2), 7.0)
    weight = storage[..., 0]
    assert norm.init_(weight) is weight
    assert_near(norm.norm(weight), torch.ones_like(norm.norm(weight)), 1e-5)
    assert (storage[..., 1] == 7).all()


@every_row
def test_init_with_a_generator_is_reproducible(norm: Norm, shape: tuple[int, ...]) -> None:
    global_state = torch.get_rng_state()
    first, again = (norm.init_(torch.empty(shape), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), global_state)
    if first.numel() > 8:
        assert not torch.equal(norm.init_(torch.empty(shape), torch.Generator().manual_seed(4)), first)


@every_row
def test_init_without_a_generator_draws_from_the_global_one(norm: Norm, shape: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    first = norm.init_(torch.empty(shape))
    torch.manual_seed(5)
    assert torch.equal(norm.init_(torch.empty(shape)), first)


@stackable_rows
def test_init_of_a_batch_draws_different_weights(norm: Norm, shape: tuple[int, ...]) -> None:
    first, second = norm.init_(torch.empty(2, *shape), torch.Generator().manual_seed(0))
    if first.numel() > 8:
        assert not torch.equal(first, second)


@every_row
def test_init_is_as_long_as_an_lmo(norm: Norm, shape: tuple[int, ...]) -> None:
    weight = norm.init_(torch.empty(shape), torch.Generator().manual_seed(0))
    assert float(weight.square().sum()) == pytest.approx(lmo_norm_sq(norm, shape), rel=1e-5)


@stackable_rows
def test_init_prefers_no_sign(norm: Norm, shape: tuple[int, ...]) -> None:
    draws = 1000
    weights = norm.init_(torch.empty(draws, *shape), torch.Generator().manual_seed(0))
    standard_error = weights.square().mean(dim=0).sqrt() / math.sqrt(draws)
    assert (weights.mean(dim=0).abs() < 5 * standard_error).all()


# The equations of Table 1, spelled out: norm, lmo.


def spectral_reference(g: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    return torch.linalg.svdvals(g)[0] / factor, factor * exact_polar(g)


def split_reference(g: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    blocks = [spectral_reference(block, math.sqrt(block.shape[0] / g.shape[1])) for block in g.split(sizes)]
    return torch.stack([norm for norm, _ in blocks]).amax(), torch.cat([lmo for _, lmo in blocks])


def convolution_reference(g: Tensor) -> tuple[Tensor, Tensor]:
    d_out, d_in, taps = g.shape[0], g.shape[1], g[0, 0].numel()
    norm, lmo = spectral_reference(g.reshape(d_out, d_in * taps), math.sqrt(d_out / d_in) / taps)
    return norm, lmo.reshape(g.shape)


def root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def column_reference(g: Tensor) -> tuple[Tensor, Tensor]:
    lengths = torch.stack([root_mean_square(column) for column in g.T])
    return lengths.amax(), torch.stack([column / root_mean_square(column) for column in g.T]).T


def row_reference(g: Tensor) -> tuple[Tensor, Tensor]:
    d_in = g.shape[1]
    lengths = torch.stack([row.norm() for row in g])
    return math.sqrt(d_in) * lengths.amax(), torch.stack([row / row.norm() / math.sqrt(d_in) for row in g])


References = list[tuple[Norm, tuple[int, ...], Callable[[Tensor], tuple[Tensor, Tensor]]]]
REFERENCES: References = [
    (Sign(), (6, 8), lambda g: (8 * g.abs().max(), g.sign() / 8)),
    (Bias(), (9,), lambda g: (root_mean_square(g), g / root_mean_square(g))),
    (Bias(), (), lambda g: (g.abs(), g.sign())),
    (ColNorm(), (6, 8), column_reference),
    (RowNorm(), (6, 8), row_reference),
    (Spectral(steps=CONVERGED), (6, 8), lambda g: spectral_reference(g, math.sqrt(6 / 8))),
    (Spectral(steps=CONVERGED), (8, 6), lambda g: spectral_reference(g, math.sqrt(8 / 6))),
    (Spectral(scale="max", steps=CONVERGED), (6, 8), lambda g: spectral_reference(g, 1.0)),
    (Spectral(scale="max", steps=CONVERGED), (8, 6), lambda g: spectral_reference(g, math.sqrt(8 / 6))),
    (Spectral(scale="none", steps=CONVERGED), (8, 6), lambda g: spectral_reference(g, 1.0)),
    (Spectral(split_sizes=(6, 2, 1), steps=CONVERGED), (9, 4), lambda g: split_reference(g, (6, 2, 1))),
    (SpectralConv(spatial_dims=1, steps=CONVERGED), (6, 4, 3), convolution_reference),
    (SpectralConv(spatial_dims=2, steps=CONVERGED), (6, 4, 3, 3), convolution_reference),
    (SpectralConv(spatial_dims=3, steps=CONVERGED), (4, 2, 3, 2, 2), convolution_reference),
]


def test_references_cover_every_norm() -> None:
    assert {type(norm) for norm, _, _ in REFERENCES} == set(NORMS.values())


@pytest.mark.parametrize(("norm", "shape", "reference"), REFERENCES, ids=label)
def test_norm_and_lmo_are_the_published_equations(
    norm: Norm, shape: tuple[int, ...], reference: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> None:
    g = gradient(shape)
    wanted_norm, wanted_lmo = reference(g)
    assert_near(norm.norm(g), wanted_norm)
    assert_near(norm.lmo(g), wanted_lmo)


def test_stacked_query_key_value_equals_fused_rows() -> None:
    fused = gradient((12, 4))
    stacked = fused.view(3, 4, 4)
    from_split = Spectral(split_sizes=(4, 4, 4)).lmo(fused)
    torch.testing.assert_close(Spectral().lmo(stacked).view(12, 4), from_split, rtol=0, atol=1e-12)


# Five steps, the default: as good as the polynomial promises.
FIVE_STEPS_BOUND = 0.13


def well_conditioned(norm: Norm, shape: tuple[int, ...]) -> Tensor:
    """A gradient whose singular values are equal to 1 within each matrix, then spread by a little noise."""
    orthogonal = norm.init_(torch.empty(shape, dtype=torch.float64), torch.Generator().manual_seed(1))
    return orthogonal + 0.1 * orthogonal.square().mean().sqrt() * gradient(shape)


@spectral_rows
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_five_steps_stay_within_the_bound_of_the_polynomial(
    norm: Spectral | SpectralConv, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    by_default = dataclasses.replace(norm, steps=5)
    g = well_conditioned(norm, shape).to(dtype)
    u = by_default.lmo(g)
    assert float((norm.norm(u) - 1).abs().max()) < FIVE_STEPS_BOUND
    assert float((inner(norm, g, u) / norm.dual_norm(g) - 1).abs().max()) < FIVE_STEPS_BOUND
    # The norm of the difference is the error of the worst singular value, the smallest included.
    assert float(norm.norm(u.double() - norm.lmo(g.double())).max()) < FIVE_STEPS_BOUND


def test_five_steps_are_the_default() -> None:
    assert (Spectral().steps, SpectralConv().steps) == (5, 5)


FIELD_ERRORS: list[tuple[Callable[[], object], str]] = [
    (lambda: Spectral(scale="mean"), "^scale is 'mean'; it must be one of 'rms', 'max', 'none'$"),  # pyright: ignore[reportArgumentType]
    (lambda: Spectral(steps=0), "^steps is 0; it must be 1 or more$"),
    (lambda: Spectral(split_sizes=(4, 0)), r"^split_sizes is \(4, 0\); it must consist of positive numbers of rows$"),
    (lambda: Spectral(split_sizes=(4, -1)), r"^split_sizes is \(4, -1\); it must consist of positive numbers of rows$"),
    (
        lambda: Spectral(split_sizes=(4, 4)).lmo(torch.ones(9, 4)),
        r"^split_sizes is \(4, 4\), but its sum 8 must equal the weight's 9 rows$",
    ),
    (lambda: Spectral(split_sizes=(4, 4)).norm(torch.ones(9, 4)), "its sum 8 must equal the weight's 9 rows$"),
    (lambda: lmo_norm_sq(Spectral(split_sizes=(4, 4)), (9, 4)), "its sum 8 must equal the weight's 9 rows$"),
    (lambda: Spectral(split_sizes=(4, 4)).init_(torch.ones(9, 4)), "its sum 8 must equal the weight's 9 rows$"),
    (lambda: SpectralConv(spatial_dims=0), r"^spatial_dims is 0; it must be 1 or more \(Conv1d has 1\)$"),
    (lambda: SpectralConv(steps=0).lmo(torch.ones(2, 2, 3, 3)), "^steps is 0; it must be 1 or more$"),
    (
        lambda: SpectralConv(spatial_dims=3).lmo(torch.ones(2, 2, 3, 3)),
        r"^kernel has shape \(2, 2, 3, 3\); it must be \(\.\.\., d_out, d_in\) followed by 3 spatial dimensions$",
    ),
    (lambda: SpectralConv(spatial_dims=3).init_(torch.ones(2, 2, 3, 3)), r"^kernel has shape \(2, 2, 3, 3\)"),
    (lambda: lmo_norm_sq(SpectralConv(spatial_dims=3), (2, 2, 3, 3)), r"^kernel has shape \(2, 2, 3, 3\)"),
]


@pytest.mark.parametrize(("call", "message"), FIELD_ERRORS)
def test_illegal_field_or_shape_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# The names in the paper's own code, and others of the same letters.
OTHER_SPELLINGS: list[tuple[str, type[Norm]]] = [
    ("Spectral", Spectral),
    ("SpectralConv", SpectralConv),
    ("Sign", Sign),
    ("BiasRMS", Bias),
    ("ColNorm", ColNorm),
    ("RowNorm", RowNorm),
    ("Auto", SpectralConv),
    ("SIGN", Sign),
    ("Bias_RMS", Bias),
    ("rownorm", RowNorm),
    ("spectralConv", SpectralConv),
]


@pytest.mark.parametrize(("name", "expected"), OTHER_SPELLINGS)
def test_a_name_is_understood_in_any_spelling(name: str, expected: type[Norm]) -> None:
    assert type(norm_for(name, ndim=4)) is type(norm_for({"name": name}, ndim=4)) is expected
    key = plain_spec(name)
    assert plain_spec({"name": name, "steps": 7}) == {"name": key, "steps": 7}
    assert key == "auto" or NORMS[str(key)] is expected


@pytest.mark.parametrize("name", NORMS)
def test_norm_for_a_name(name: str) -> None:
    assert type(norm_for(name, ndim=4)) is NORMS[name]


@pytest.mark.parametrize(
    ("ndim", "expected"),
    [(0, Bias()), (1, Bias()), (2, Spectral()), (4, SpectralConv(spatial_dims=2)), (5, SpectralConv(spatial_dims=3))],
)
def test_norm_for_auto_goes_by_dimensions(ndim: int, expected: Norm) -> None:
    assert norm_for("auto", ndim) == expected
    assert norm_for({"name": "auto"}, ndim) == expected


@pytest.mark.parametrize(
    ("spec", "ndim", "expected"),
    [
        ("spectral", 3, Spectral()),
        ("spectral_conv", 3, SpectralConv(spatial_dims=1)),
        ({"name": "spectral", "scale": "max", "split_sizes": (4, 2)}, 2, Spectral("max", (4, 2))),
        ({"name": "spectral_conv", "spatial_dims": 1}, 4, SpectralConv(spatial_dims=1)),
        ({"name": "auto", "steps": 8}, 4, SpectralConv(spatial_dims=2, steps=8)),
        ({"name": "sign"}, 2, Sign()),
    ],
)
def test_norm_for_a_plain_spec(spec: NormSpec, ndim: int, expected: Norm) -> None:
    assert norm_for(spec, ndim) == expected


def test_norm_for_does_not_write_to_its_spec() -> None:
    spec = {"name": "spectral_conv", "steps": 7}
    norm_for(spec, ndim=4)
    assert spec == {"name": "spectral_conv", "steps": 7}


@dataclasses.dataclass(frozen=True)
class Halved:
    """A norm of the user's own: what `Norm` asks for, and no entry in the table."""

    factor: float = 0.5

    def lmo(self, gradient: Tensor) -> Tensor:
        return gradient.sign() * self.factor

    def norm(self, weight: Tensor) -> Tensor:
        return weight.abs().amax() / self.factor

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return gradient.abs().sum() * self.factor

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return weight

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        return [LmoBlock("sign", math.prod(shape) * self.factor**2)]


def test_norm_of_the_users_own_passes_through() -> None:
    own = Halved()
    assert norm_for(own, ndim=2) is own
    assert plain_spec(own) is own


LEGAL_NAMES = "it must be one of 'auto', " + ", ".join(map(repr, NORMS))


@pytest.mark.parametrize(
    ("spec", "value"), [("nuclear", "'nuclear'"), ({"name": "Spektral"}, "'Spektral'"), ({"scale": "max"}, "None")]
)
def test_unknown_name_is_named_with_the_legal_ones(spec: NormSpec, value: str) -> None:
    with pytest.raises(ValueError, match=f"^norm is {value}; {LEGAL_NAMES}$"):
        norm_for(spec, ndim=2)


@pytest.mark.parametrize("spec", ["auto", {"name": "auto"}])
def test_auto_for_three_dimensions_asks_which(spec: NormSpec) -> None:
    with pytest.raises(ValueError, match=r"3 dimensions; .* norm='spectral' .* norm='spectral_conv'"):
        norm_for(spec, ndim=3)


def test_convolution_norm_for_a_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^spatial_dims is 0; it must be 1 or more"):
        norm_for("spectral_conv", ndim=2)


def test_unknown_field_is_named() -> None:
    with pytest.raises(TypeError, match="scala"):
        norm_for({"name": "spectral", "scala": "max"}, ndim=2)


@every_row
def test_plain_spec_makes_the_same_norm_again(norm: Norm, shape: tuple[int, ...]) -> None:
    spec = plain_spec(norm)
    assert norm_for(spec, len(shape)) == norm
    assert plain_spec(spec) == spec


@every_row
def test_plain_spec_loads_with_weights_only(norm: Norm, shape: tuple[int, ...]) -> None:
    file = io.BytesIO()
    torch.save({"norm": plain_spec(norm)}, file)
    file.seek(0)
    assert norm_for(torch.load(file, weights_only=True)["norm"], len(shape)) == norm


@pytest.mark.parametrize("spec", ["auto", "spectral", {"name": "spectral", "steps": 7}])
def test_plain_spec_of_a_plain_spec_is_itself(spec: NormSpec) -> None:
    assert plain_spec(spec) == spec


def test_plain_spec_without_fields_is_a_name() -> None:
    assert [plain_spec(norm) for norm in (Sign(), Bias(), ColNorm(), RowNorm())] == [
        "sign",
        "bias",
        "col_norm",
        "row_norm",
    ]
