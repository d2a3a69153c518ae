"""Corrected decay in optax, step by step, against the torch optimizers and the paper's equations in float64."""

import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import steadydecay as sd
from steadydecay.integrations.optax import add_steady_decay, paths_like, weight_decay_schedule
from steadydecay.theory import DECAY_RULES, lion_average

STEPS, PEAK, WEIGHT_DECAY = 12, 0.1, 2.0
SCHEDULES: dict[str, Any] = {
    "cosine": optax.warmup_cosine_decay_schedule(0.0, PEAK, warmup_steps=3, decay_steps=STEPS),
    "linear": optax.linear_schedule(PEAK, 0.0, transition_steps=STEPS),
    "step": optax.piecewise_constant_schedule(PEAK, {4: 0.3, 8: 0.1}),
    "constant": PEAK,
}
HEAD = paths_like("head")


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def lrs_of(schedule: Any) -> list[float]:
    of_step: Any = schedule
    return [float(of_step(step)) for step in range(STEPS)] if callable(schedule) else [schedule] * STEPS


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {"body": random.standard_normal((3, 4)), "head": random.standard_normal((2, 3))}


def gradients() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [{name: random.standard_normal(weight.shape) for name, weight in weights().items()} for _ in range(STEPS)]


def trained(transform: optax.GradientTransformation, steps: list[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """The weights after each step, all of them by one compiled function."""

    @jax.jit
    def step(params: Any, state: Any, gradient: Any) -> Any:
        updates, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params: Any = jax.tree.map(jnp.asarray, weights())
    state, path = transform.init(params), []
    for gradient in steps:
        params, state = step(params, state, gradient)
        path.append(params)
    return path


def trained_by_torch(build: Callable[[list[Any]], torch.optim.Optimizer], lrs: list[float]) -> list[dict[str, Any]]:
    params = {name: torch.nn.Parameter(torch.from_numpy(weight)) for name, weight in weights().items()}
    optimizer = build([{"params": [params["body"]]}, {"params": [params["head"]], "decay": "constant"}])
    path = []
    for lr, gradient in zip(lrs, gradients(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr
        for name, parameter in params.items():
            parameter.grad = torch.from_numpy(gradient[name])
        optimizer.step()
        path.append({name: parameter.detach().numpy().copy() for name, parameter in params.items()})
    return path


def assert_same(path: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """As far as float32 goes, in which optax computes its schedules; one step decays by 0.2."""
    for step, (found, expected) in enumerate(zip(path, wanted, strict=True)):
        for name, weight in expected.items():
            np.testing.assert_allclose(found[name], weight, rtol=3e-6, atol=1e-6, err_msg=f"{name}, step {step}")


@pytest.mark.parametrize("rule", DECAY_RULES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_adam_steps_as_adamc_does(name: str, rule: str) -> None:
    schedule = SCHEDULES[name]
    transform = optax.chain(
        optax.scale_by_adam(),
        add_steady_decay(schedule, WEIGHT_DECAY, reference_lr=PEAK, rule=rule, output=HEAD),
        optax.scale_by_learning_rate(schedule),
    )

    def build(groups: list[Any]) -> torch.optim.Optimizer:
        return sd.AdamC(groups, lr=PEAK, weight_decay=WEIGHT_DECAY, decay=rule)

    assert_same(trained(transform, gradients()), trained_by_torch(build, lrs_of(schedule)))


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_lion_steps_as_lion_does(rule: str) -> None:
    schedule = SCHEDULES["cosine"]
    transform = optax.chain(
        optax.scale_by_lion(0.9, 0.7),
        add_steady_decay(
            schedule, WEIGHT_DECAY, reference_lr=PEAK, momentum=lion_average(0.9, 0.7), rule=rule, output=HEAD
        ),
        optax.scale_by_learning_rate(schedule),
    )

    def build(groups: list[Any]) -> torch.optim.Optimizer:
        return sd.Lion(groups, lr=PEAK, betas=(0.9, 0.7), weight_decay=WEIGHT_DECAY, decay=rule)

    assert_same(trained(transform, gradients()), trained_by_torch(build, lrs_of(schedule)))


def energy(momentum: float, nesterov: bool) -> float:
    """Σ c_j² term by term, from the gradients' weights in the direction."""
    coefficients = [(1 - momentum) * momentum**lag for lag in range(2000)]
    if nesterov:
        coefficients = [1 - momentum**2, *(momentum * c for c in coefficients[1:])]
    return math.fsum(c * c for c in coefficients)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_decay_follows_the_square_of_the_effective_lr(name: str, nesterov: bool) -> None:
    """Eq. 4 with a scheduled momentum; a zero gradient of a sign leaves the decay alone."""
    schedule, momentum = SCHEDULES[name], optax.linear_schedule(0.95, 0.8, transition_steps=STEPS)
    momenta = lrs_of(momentum)
    decay = add_steady_decay(
        schedule,
        WEIGHT_DECAY,
        reference_lr=PEAK,
        momentum=momentum,
        reference_momentum=0.95,
        nesterov=nesterov,
        output=HEAD,
    )
    transform = optax.chain(optax.scale_by_sign(), decay, optax.scale_by_learning_rate(schedule))
    path = trained(transform, [jax.tree.map(np.zeros_like, gradient) for gradient in gradients()])
    expected = weights()
    for step, lr in enumerate(lrs_of(schedule)):
        share = (lr / PEAK) ** 2 * energy(0.95, nesterov) / energy(momenta[step], nesterov)
        expected["body"] = expected["body"] * (1 - PEAK * WEIGHT_DECAY * share)
        expected["head"] = expected["head"] * (1 - lr * WEIGHT_DECAY)
        assert_same([path[step]], [expected])


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_single_precision_is_enough(rule: str) -> None:
    with jax.enable_x64(False):
        single = weight_decay_schedule(
            SCHEDULES["cosine"], WEIGHT_DECAY, reference_lr=PEAK, momentum=lion_average(0.95, 0.98), rule=rule
        )
        found = [float(jax.jit(single)(step)) for step in range(STEPS)]
    reference = sd.theory.Reference(PEAK, WEIGHT_DECAY, lion_average(0.95, 0.98))
    expected = [
        sd.theory.weight_decay(lr, lion_average(0.95, 0.98), False, reference, rule)
        for lr in lrs_of(SCHEDULES["cosine"])
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_schedule_serves_optax_s_own_optimizers() -> None:
    """As `weight_decay` of optax.adamw it is the chain without an output layer."""
    schedule = SCHEDULES["cosine"]
    whole = optax.adamw(schedule, weight_decay=weight_decay_schedule(schedule, WEIGHT_DECAY, reference_lr=PEAK))  # pyright: ignore[reportArgumentType]
    chain = optax.chain(
        optax.scale_by_adam(),
        add_steady_decay(schedule, WEIGHT_DECAY, reference_lr=PEAK, output=None),
        optax.scale_by_learning_rate(schedule),
    )
    assert_same(trained(whole, gradients()), trained(chain, gradients()))


@pytest.mark.parametrize(
    ("mask", "output", "decays"),
    [
        (None, None, {"body": 0.05, "head": 0.05}),
        (None, {"body": False, "head": True}, {"body": 0.05, "head": 0.1}),
        ({"body": False, "head": True}, None, {"body": 0.0, "head": 0.05}),
        (paths_like("b*"), paths_like("h*"), {"body": 0.05, "head": 0.0}),
        (True, paths_like("h*", "b*"), {"body": 0.1, "head": 0.1}),
    ],
    ids=["all", "output", "mask", "patterns", "a prefix and two patterns"],
)
def test_masks(mask: Any, output: Any, decays: dict[str, float]) -> None:
    """At half the reference lr a constant decay takes γλ = 0.1, and a corrected one half of it."""
    params = jax.tree.map(jnp.asarray, weights())
    transform = add_steady_decay(PEAK / 2, 2.0, reference_lr=PEAK, mask=mask, output=output)
    updates: Any = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)[0]
    for name, decay in decays.items():
        np.testing.assert_allclose(updates[name] * PEAK / 2, decay * params[name], rtol=1e-12)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no reference of a schedule": (
        lambda: weight_decay_schedule(lambda step: 0.1, 0.1),
        "reference_lr is None; it must be a number: pass the learning rate at which weight_decay was chosen",
    ),
    "reference zero": (lambda: weight_decay_schedule(0.0, 0.1), "reference_lr is 0.0; it must be in (0, inf)"),
    "lr": (lambda: weight_decay_schedule(-0.1, 0.1), "learning_rate is -0.1; it must be in [0, inf)"),
    "decay of everything": (
        lambda: weight_decay_schedule(0.5, 2.0),
        "weight_decay is 2.0; it must be in [0, 2.0): each step at the reference lr=0.5 removes the share",
    ),
    "a decay that is a schedule": (
        lambda: weight_decay_schedule(0.5, "0.1"),  # pyright: ignore[reportArgumentType]
        "weight_decay is '0.1'; it must be a number",
    ),
    "momentum": (
        lambda: weight_decay_schedule(0.5, 0.1, momentum=1.0),
        "momentum is 1.0; it must be in [0, 1): PyTorch's convention is 0.9, not 0.1",
    ),
    "no reference of a momentum": (
        lambda: weight_decay_schedule(0.5, 0.1, momentum=lambda step: 0.9),
        "reference_momentum is None; it must be a number in [0, 1) or a filter: pass the momentum",
    ),
    "rule": (
        lambda: weight_decay_schedule(0.5, 0.1, rule="fixed"),
        "decay rule is 'fixed'; it must be one of 'constant'",
    ),
    "no pattern": (lambda: paths_like(), "patterns is (); it must have at least one string"),
    "pattern of nothing": (
        lambda: add_steady_decay(0.1, 0.1, output=paths_like("*lm_head*")).init(weights()),
        "patterns has '*lm_head*', which matches no parameter; it must match one of ['body', 'head']",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_it_imports_no_torch() -> None:
    program = """
import sys
sys.modules["torch"] = None
from steadydecay.integrations.optax import weight_decay_schedule
print(float(weight_decay_schedule(0.1, 0.5)(0)))
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "0.5"


def test_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs/jax.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    # At half of the reference lr, set by hand, the body loses a quarter of its decay and the head half.
    zeros = jax.tree.map(jnp.zeros_like, names["params"])
    updates, _ = names["optimizer"].update(zeros, names["state"], names["params"])
    np.testing.assert_allclose(updates["body"]["kernel"], -1e-3 / 4, rtol=1e-6)
    np.testing.assert_allclose(updates["lm_head"]["kernel"], -1e-3 / 2, rtol=1e-6)
