"""Cautious decay and the hard norm constraint against slow references, and what they leave alone."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import steadydecay as sd
from steadydecay.correction.cautious import cautious_decay
from steadydecay.correction.hyperball import frobenius_norm, norms_to_hold, projection_factor

BUILDS = {
    "AdamW": lambda params: torch.optim.AdamW(params, lr=0.1, weight_decay=0.5),
    "Muon": lambda params: torch.optim.Muon(params, lr=0.1, weight_decay=0.5),
    "Scion": lambda params: sd.Scion(params, lr=0.1, weight_decay=0.5),
    "SGDW": lambda params: sd.SGDW(params, lr=0.1, weight_decay=0.5),
}


def correct(optimizer: Optimizer, rule: str) -> Any:
    return sd.correct_weight_decay(optimizer, rule, where=lambda group: True)


def parameters_of(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def give_gradients(parameters: list[Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def norms_of(parameters: list[Any]) -> list[float]:
    return [float(parameter.detach().norm()) for parameter in parameters]


# --- the pure functions ---


def slow_cautious_decay(before: Tensor, after: Tensor, decay: float) -> Tensor:
    taken = [decay * b if (b - a) * b >= 0 else 0.0 for a, b in zip(after.tolist(), before.tolist(), strict=True)]
    return torch.tensor(taken, dtype=before.dtype)


def test_cautious_decay_of_each_sign() -> None:
    before = torch.tensor([2.0, 2.0, -2.0, -2.0, 2.0, 0.0])
    after = torch.tensor([1.0, 3.0, -1.0, -3.0, 2.0, 1.0])
    assert torch.equal(cautious_decay(before, after, 0.25), torch.tensor([0.5, 0.0, -0.5, 0.0, 0.5, 0.0]))
    assert torch.equal(cautious_decay(before, after, 0.25), slow_cautious_decay(before, after, 0.25))


def test_cautious_decay_of_complex_weights_is_that_of_their_parts() -> None:
    before, after = torch.complex(torch.ones(2), -torch.ones(2)), torch.complex(torch.zeros(2), -2 * torch.ones(2))
    assert torch.equal(cautious_decay(before, after, 0.5), torch.complex(torch.full((2,), 0.5), torch.zeros(2)))


@pytest.mark.parametrize("function", [cautious_decay, projection_factor])
def test_neither_argument_is_written_to(function: Any) -> None:
    before, after = torch.randn(4, 3), torch.randn(4, 3)
    copies = before.clone(), after.clone()
    function(before, 2.0) if function is projection_factor else function(before, after, 0.5)
    assert torch.equal(before, copies[0])
    assert torch.equal(after, copies[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64])
def test_the_projection_brings_any_weight_to_its_norm(dtype: torch.dtype) -> None:
    weight = (300 * torch.randn(64, 32, dtype=torch.float64)).to(dtype)
    factor = projection_factor(frobenius_norm(weight), 7.0)
    assert factor.ndim == 0
    assert float(frobenius_norm(weight) * factor) == pytest.approx(7.0, rel=1e-5)


def test_a_zero_weight_is_not_scaled() -> None:
    assert projection_factor(frobenius_norm(torch.zeros(3, 3)), 2.0) == 1


def test_vectors_are_not_held_unless_a_norm_is_given() -> None:
    parameters = parameters_of((4, 3), (4,), (2, 3, 3))
    first, vector, kernel = norms_to_hold({"params": parameters}, "group 0")
    assert [first, kernel] == pytest.approx(norms_of([parameters[0], parameters[2]]))
    assert vector is None
    assert norms_to_hold({"params": parameters, "hyperball_norms": [1, 2, None]}, "group 0") == [1.0, 2.0, None]


# --- by the verb ---


class ReferenceCautiousAdamW:
    """AdamW whose decay takes only the coordinates with u θ ≥ 0, from its equations in float64."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.steps, self.spared = weight, 0, 0
        self.first, self.second = torch.zeros_like(weight), torch.zeros_like(weight)

    def step(self, gradient: Tensor, lr: float) -> None:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first, second = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        update = first / (second.sqrt() + 1e-8)
        mask = update * self.weight >= 0
        self.spared += int((~mask).sum())
        self.weight = self.weight - lr * (update + 0.5 * mask * self.weight)


def test_cautious_adamw_equals_the_reference() -> None:
    (parameter,) = parameters_of((4, 3))
    reference = ReferenceCautiousAdamW(parameter.detach().clone())
    optimizer = BUILDS["AdamW"]([parameter])
    correct(optimizer, "cautious")
    for seed in range(40):
        lr = optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(0.16 * seed))
        give_gradients([parameter], seed)
        reference.step(parameter.grad, lr)
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), reference.weight, rtol=1e-10, atol=1e-10)
    assert 0.2 < reference.spared / (40 * 12) < 0.8


@pytest.mark.parametrize("name", BUILDS)
def test_cautious_decay_is_between_none_and_all(name: str) -> None:
    ends = {}
    for rule in ("none", "cautious", "constant"):
        parameters = parameters_of((16, 8))
        optimizer = BUILDS[name](parameters)
        if rule == "none":
            optimizer.param_groups[0]["weight_decay"] = 0.0
        else:
            correct(optimizer, rule)
        for seed in range(30):
            give_gradients(parameters, seed)
            optimizer.step()
        ends[rule] = norms_of(parameters)[0]
    assert ends["none"] > 1.05 * ends["cautious"] > 1.05**2 * ends["constant"]


@pytest.mark.parametrize("name", BUILDS)
def test_the_hyperball_holds_the_first_norm(name: str) -> None:
    parameters = parameters_of((6, 4), (3, 5))
    optimizer, plain_parameters = BUILDS[name](parameters), parameters_of((6, 4), (3, 5))
    plain = BUILDS[name](plain_parameters)
    before = norms_of(parameters)
    correct(optimizer, "hyperball")
    for seed in range(20):
        for moved, stepped in ((parameters, optimizer), (plain_parameters, plain)):
            give_gradients(moved, seed)
            stepped.step()
        assert norms_of(parameters) == pytest.approx(before, rel=1e-12)
    assert norms_of(plain_parameters) != pytest.approx(before, rel=0.05)
    assert optimizer.param_groups[0]["weight_decay"] == 0.0
    assert optimizer.param_groups[0]["hyperball_norms"] == pytest.approx(before)


def test_the_first_hyperball_step_is_a_plain_step_and_a_projection() -> None:
    (parameter,), (plain,) = parameters_of((4, 3)), parameters_of((4, 3))
    optimizer, undecayed = BUILDS["AdamW"]([parameter]), torch.optim.AdamW([plain], lr=0.1, weight_decay=0.0)
    correct(optimizer, "hyperball")
    for moved, stepped in ((parameter, optimizer), (plain, undecayed)):
        give_gradients([moved], 0)
        stepped.step()
    norm = norms_of(parameters_of((4, 3)))[0]
    torch.testing.assert_close(parameter.detach(), plain.detach() * norm / plain.detach().norm(), rtol=1e-12, atol=0)


def test_the_hyperball_takes_norms_from_the_group_and_leaves_vectors_free() -> None:
    matrix, vector = parameters_of((4, 3), (5,))
    optimizer = torch.optim.AdamW([{"params": [matrix, vector], "hyperball_norms": [2.5, None]}], lr=0.1)
    correct(optimizer, "hyperball")
    before = norms_of([vector])
    give_gradients([matrix, vector], 0)
    optimizer.step()
    assert norms_of([matrix]) == pytest.approx([2.5])
    assert norms_of([vector]) != pytest.approx(before, rel=1e-3)


def test_the_hyperball_needs_no_weight_decay_in_the_group() -> None:
    (parameter,) = parameters_of((4, 3))
    optimizer = torch.optim.Rprop([parameter], lr=0.1)
    handle = correct(optimizer, "hyperball")
    give_gradients([parameter], 0)
    optimizer.step()
    assert norms_of([parameter]) == pytest.approx(norms_of(parameters_of((4, 3))))
    assert "weight_decay" not in optimizer.param_groups[0]
    handle.remove()
    assert not {"hyperball_norms", "decay_replacement", "weight_decay"} & set(optimizer.param_groups[0])


@pytest.mark.parametrize("rule", ["cautious", "hyperball"])
def test_weights_without_gradient_stay(rule: str) -> None:
    parameters = parameters_of((4, 3), (4, 3))
    optimizer = BUILDS["AdamW"](parameters)
    correct(optimizer, rule)
    give_gradients(parameters[:1], 0)
    optimizer.step()
    assert torch.equal(parameters[1].detach(), parameters_of((4, 3), (4, 3))[1].detach())


@pytest.mark.parametrize("rule", ["cautious", "hyperball"])
def test_lr_zero_keeps_negative_zeros_and_infinities(rule: str) -> None:
    parameter = nn.Parameter(torch.tensor([[-0.0, 0.0, 1.0]]))
    optimizer = torch.optim.AdamW([parameter], lr=torch.tensor(0.1), weight_decay=0.5, foreach=False)
    correct(optimizer, rule)
    with torch.no_grad():
        parameter[0, 2] = math.inf
        optimizer.param_groups[0]["lr"].fill_(0.0)
    before = parameter.detach().clone()
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert parameter.detach().numpy().tobytes() == before.numpy().tobytes()


class StepsTwice(torch.optim.AdamW):
    """A subclass whose step calls its parent's, so that torch runs the hooks twice."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


@pytest.mark.parametrize("rule", ["corrected", "cautious", "hyperball"])
def test_hooks_that_run_twice_do_their_work_once(rule: str) -> None:
    ends = []
    for kind in (torch.optim.AdamW, StepsTwice):
        parameters = parameters_of((4, 3))
        optimizer = kind(parameters, lr=0.1, weight_decay=0.5)
        correct(optimizer, rule)
        for seed in range(3):
            optimizer.param_groups[0]["lr"] = 0.1 / (seed + 1)
            give_gradients(parameters, seed)
            optimizer.step()
        ends.append(parameters[0].detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("rule", ["cautious", "hyperball"])
def test_a_closure_gives_the_gradients(rule: str) -> None:
    (first,), (second,) = parameters_of((4, 3)), parameters_of((4, 3))

    def closure() -> float:
        first.grad = torch.ones_like(first)
        return 3.5

    for parameter in (first, second):
        optimizer = BUILDS["AdamW"]([parameter])
        correct(optimizer, rule)
        second.grad = torch.ones_like(second)
        assert optimizer.step(closure if parameter is first else None) == (3.5 if parameter is first else None)
    assert torch.equal(first.detach(), second.detach())


def test_a_tensor_weight_decay_is_replaced_and_restored_in_place() -> None:
    held = torch.tensor(0.5)
    optimizer = torch.optim.AdamW(parameters_of((4, 3)), lr=0.1, weight_decay=held)  # pyright: ignore[reportArgumentType]
    handle = correct(optimizer, "cautious")
    assert float(held) == 0.0
    assert optimizer.param_groups[0]["replaced_weight_decay"] == 0.5
    handle.remove()
    assert optimizer.param_groups[0]["weight_decay"] is held
    assert float(held) == 0.5


def test_the_output_layer_is_left_to_its_decay() -> None:
    hidden, output = parameters_of((4, 3), (4, 3))
    groups = [{"params": [hidden], "role": "hidden"}, {"params": [output], "role": "output"}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd.correct_weight_decay(optimizer, "hyperball")
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("keys", "rule", "message"),
    [
        (
            {"hyperball_norms": [1.0, 2.0]},
            "hyperball",
            r"hyperball_norms of group 0 of AdamW has 2 entries; it must have 1",
        ),
        (
            {"hyperball_norms": [0.0]},
            "hyperball",
            r"a norm of hyperball_norms of group 0 of AdamW is 0\.0; it must be in \(0",
        ),
        (
            {"steady_norm_sq": 2.0},
            "cautious",
            r"steady_norm_sq=2\.0, which the rule 'cautious' does not support; set weight_decay",
        ),
        ({"steady_norm_sq": 2.0}, "hyperball", r"steady_norm_sq=2\.0, which the rule 'hyperball' does not support"),
        ({"weight_decay": -1.0}, "cautious", r"weight_decay of group 0 of AdamW is -1\.0; it must be in \[0, inf\)"),
    ],
)
def test_what_cannot_be_held_is_refused_and_nothing_has_changed(keys: dict[str, Any], rule: str, message: str) -> None:
    optimizer = torch.optim.AdamW([{"params": parameters_of((4, 3))}], lr=0.1, weight_decay=0.5)
    optimizer.param_groups[0].update(keys)
    before = dict(optimizer.param_groups[0])
    with pytest.raises(ValueError, match=message):
        correct(optimizer, rule)
    assert optimizer.param_groups[0] == before
    assert not optimizer._optimizer_step_pre_hooks


def test_a_weight_that_starts_at_zero_is_refused_by_the_hyperball() -> None:
    optimizer = BUILDS["AdamW"]([nn.Parameter(torch.zeros(4, 3))])
    with pytest.raises(ValueError, match=r"is 0\.0; it must be in \(0, inf\): for a weight that starts at zero"):
        correct(optimizer, "hyperball")
