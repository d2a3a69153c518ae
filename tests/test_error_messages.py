"""An error names its argument as spelled, shows the value, and says what is legal or what to do, in a sentence."""

import ast
import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.cli import main
from steadydecay.commands.command_line import NAMES
from test_docstrings import DOCUMENTED

SOURCE = Path(sd.__file__).parent


# The form of a message

# A remedy is an imperative that begins a clause.
REMEDY = re.compile(
    r"(?:^|[.;:,]|\band|\bso|\bor) (?:use|pass|set|give|load|call|choose|lower|raise|take|leave|name|install|add|keep|"
    r"close|move|write|run|try|look|check|count|turn|exclude|attach|construct|--\w+ \w+)\b|\bdid you mean\b",
    re.IGNORECASE,
)
LEGAL = re.compile(r"\b(?:must|legal)\b")
VERB = re.compile(
    r"\b(?:is|are|has|have|had|holds?|needs?|names?|matches|lacks?|must|cannot|can|does|contains?|exclude)\b"
)
# Words with which only a piece of a sentence begins, when a verb of its own is missing.
FRAGMENT = re.compile(r"(?:of|for|with|without|which|that|not|and|but|because|although|when|than)\b")


def faults_of(message: str, called: str, shown: str) -> list[str]:
    """What a reader of the message would miss; empty if it has the form."""
    checks = {
        f"does not name {called}": re.search(rf"(?<!\w){re.escape(called)}(?!\w)", message),
        f"does not show {shown}": shown in message,
        "says neither what is legal nor what to do": LEGAL.search(message) or REMEDY.search(message),
        "is not a sentence": VERB.search(message) and not FRAGMENT.match(message),
    }
    return [fault for fault, holds in checks.items() if not holds]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("it is 0; it must be in (0, inf)", "does not name lr"),
        ("lr is illegal; it must be positive", "does not show 0"),
        ("lr is 0", "says neither what is legal nor what to do"),
        ("of lr 0: must be higher", "is not a sentence"),
        ("lr 0: use a higher one", "is not a sentence"),
    ],
)
def test_a_message_without_the_form_is_found(message: str, fault: str) -> None:
    assert faults_of(message, "lr", "0") == [fault]


@pytest.mark.parametrize("message", ["lr is 0; it must be in (0, inf)", "lr is 0, so pass the peak of the schedule"])
def test_a_message_with_the_form_passes(message: str) -> None:
    assert faults_of(message, "lr", "0") == []


# Every public name


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 3))]


def adamw() -> torch.optim.Optimizer:
    return torch.optim.AdamW([{"params": weights(), "role": "hidden"}], lr=0.1, weight_decay=0.1)


def scion(**keys: Any) -> torch.optim.Optimizer:
    return sd.Scion([{"params": weights(), "role": "hidden"}], 0.1, **keys)


REFERENCE = sd.theory.Reference(lr=0.1, weight_decay=0.1)
SETTINGS = sd.theory.AdamSettings(lr=0.1, weight_decay=0.1)
MOMENT_STEP = {"weight": 1.0, "gradient": 1.0, "settings": SETTINGS}
# Arguments with which a public name raises nothing.
LEGAL_CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "AdamC": lambda: {"params": weights()},
    "EffectiveLR": lambda: {"optimizer": scion(), "steps": 9},
    "Lion": lambda: {"params": weights()},
    "RenormalizedAdamW": lambda: {"params": weights()},
    "SGDW": lambda: {"params": weights()},
    "Scion": lambda: {"params": weights(), "lr": 0.1},
    "ScionC": lambda: {"params": weights(), "lr": 0.1},
    "SteadyNorm": lambda: {"optimizer": scion(steady_norm_sq=0.5), "steps": 9, "start": 0.5, "end": 0.4},
    "correct_weight_decay": lambda: {"optimizer": adamw()},
    "init_": lambda: {"groups": sd.param_groups(nn.Linear(3, 2), lr=0.1)},
    "param_groups": lambda: {"model": nn.Linear(3, 2), "lr": 0.1},
    "register_optimizer": lambda: {"optimizer_class": type("Own", (torch.optim.SGD,), {}), "sized_by": "sign"},
    "skip_nonfinite": lambda: {"optimizer": adamw()},
    "watch": lambda: {"optimizer": adamw()},
    "theory.correlation": lambda: {"momentum_correlation": 0.5},
    "theory.decay": lambda: {"lr": 0.1, "momentum": 0.9, "nesterov": False, "reference": REFERENCE, "rule": "exact"},
    "theory.decay_for_norm": lambda: {"steady_norm_sq": 1.0, "lr": 0.1},
    "theory.effective_lr": lambda: {"lr": 0.1, "momentum": 0.9},
    "theory.forecast": lambda: {"lr": [0.1, 0.1], "decay": 0.1},
    "theory.momentum_for": lambda: {"effective_lr": 0.2, "lr": 0.1},
    "theory.perpendicular_share": lambda: {"decay": 0.1},
    "theory.power_series": lambda: {"lmo": "sign"},
    "theory.reference_weight_decay": lambda: {"steady_norm_sq": 1.0, "lr": 0.1, "rule": "corrected"},
    "theory.simulate": lambda: {"lr": [0.1, 0.1], "decay": 0.1, "dim": 8},
    "theory.steady_norm_sq": lambda: {"lr": 0.1, "decay": 0.1},
    "theory.time_constant": lambda: {"decay": 0.1},
    "theory.weight_decay": lambda: {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "reference": REFERENCE,
        "rule": "exact",
    },
    "theory.adam_l2_step": lambda: MOMENT_STEP,
    "theory.adam_path": lambda: {
        "update": sd.theory.adamw_step,
        "weight": 1.0,
        "gradients": [1.0],
        "settings": SETTINGS,
    },
    "theory.adamw_step": lambda: MOMENT_STEP,
    "norms.Spectral": dict,
    "norms.SpectralConv": dict,
    "norms.norm_for": lambda: {"spec": "sign", "ndim": 2},
}
# Values and pure functions that take whatever they are given.
REFUSES_NOTHING = {
    *("describe", "theory.MomentumFilter", "theory.Reference", "theory.exponential_average", "theory.lion_average"),
    *("theory.nesterov_average", "theory.AdamMoments", "theory.AdamSettings", "theory.AdamStep", "norms.Bias"),
    *("norms.ColNorm", "norms.LmoBlock", "norms.Norm", "norms.RowNorm", "norms.Sign", "norms.fewest_dimensions"),
    *("norms.is_row_wise", "norms.lmo_norm_sq", "norms.norm_name", "norms.plain_spec"),
}


class Case(NamedTuple):
    """An illegal value of one argument.

    Attributes:
        name: The public name.
        argument: The argument, as the signature spells it.
        value: The illegal value.
        shown: How the message shows the value; `repr` by default.
        called: How the message names the argument, if it means a part of it.
    """

    name: str
    argument: str
    value: Any
    shown: str = ""
    called: str = ""


LINEAR = nn.Linear(3, 2)
ILLEGAL = [
    *(Case(name, "lr", -0.1) for name in ("AdamC", "Lion", "RenormalizedAdamW", "SGDW", "Scion", "ScionC")),
    *(Case(name, "lr", "0.1") for name in ("AdamC", "Lion", "RenormalizedAdamW", "SGDW", "Scion", "ScionC")),
    *(Case(name, "weight_decay", -0.1) for name in ("AdamC", "Lion", "RenormalizedAdamW", "SGDW", "Scion", "ScionC")),
    *(Case(name, "decay", "squared") for name in ("AdamC", "Lion", "RenormalizedAdamW", "SGDW", "Scion", "ScionC")),
    *(Case(name, "steady_norm_sq", 1e-9) for name in ("AdamC", "Lion", "SGDW", "Scion", "ScionC")),
    *(Case(name, "low_precision", "kahan") for name in ("AdamC", "Lion", "SGDW", "Scion", "ScionC")),
    *(
        Case(name, "params", [{"params": set(weights())}], "a set")
        for name in ("AdamC", "Lion", "SGDW", "Scion", "ScionC")
    ),
    *(Case(name, "momentum", 1.0) for name in ("SGDW", "Scion", "ScionC")),
    *(Case(name, "nesterov", "yes") for name in ("SGDW", "Scion", "ScionC")),
    *(Case(name, "betas", (0.9, 1.5), "1.5") for name in ("AdamC", "RenormalizedAdamW")),
    Case("AdamC", "eps", -1.0),
    Case("Lion", "betas", 0.9),
    Case("Scion", "norm", "spectrl"),
    Case("Scion", "workspace_bytes", 0.5),
    *(Case(name, "optimizer", LINEAR, "Linear") for name in ("EffectiveLR", "SteadyNorm", "correct_weight_decay")),
    *(Case(name, "optimizer", LINEAR, "Linear") for name in ("skip_nonfinite", "watch")),
    *(Case(name, "shape", "cosin") for name in ("EffectiveLR", "SteadyNorm")),
    *(Case(name, "steps", 0) for name in ("EffectiveLR", "SteadyNorm")),
    *(Case(name, "last_epoch", 3) for name in ("EffectiveLR",)),
    Case("EffectiveLR", "shape", lambda step: 7.0, "7.0"),
    Case("EffectiveLR", "warmup_steps", 9),
    Case("EffectiveLR", "via", "momenta"),
    Case("EffectiveLR", "last_epoch", -2),
    Case("SteadyNorm", "start", 0.0),
    Case("SteadyNorm", "end", 1e-9),
    Case("SteadyNorm", "where", "output"),
    Case("correct_weight_decay", "rule", "squared"),
    Case("correct_weight_decay", "rule", ("exact", "hyperball")),
    Case("correct_weight_decay", "where", 2),
    Case("correct_weight_decay", "where", "conv"),
    Case("correct_weight_decay", "where", 1.5),
    Case("correct_weight_decay", "where", []),
    Case("correct_weight_decay", "reference_lr", 0.0),
    Case("init_", "groups", [{"params": weights(), "role": "hidden"}], "'hidden'", "group"),
    Case("param_groups", "model", nn.ReLU(), "no trainable parameter"),
    Case("param_groups", "optimizer", "adamm"),
    Case("param_groups", "lr", {"vector": 0.1}, "'output'"),
    Case("param_groups", "weight_decay", {"hiden": 0.1}, "'hiden'"),
    Case("param_groups", "output", "head*"),
    Case("param_groups", "output", LINEAR, "Linear"),
    Case("param_groups", "overrides", {"head.*": {"lr": 0.1}}, "'head.*'"),
    Case("param_groups", "overrides", {"weight": {"lrr": 0.1}}, "'lrr'"),
    Case("param_groups", "overrides", {"weight": {"role": "hiden"}}, "'hiden'", "role"),
    Case("param_groups", "layer_decay", 0.0),
    Case("register_optimizer", "optimizer_class", nn.Linear, "Linear"),
    Case("register_optimizer", "sized_by", "signs"),
    Case("register_optimizer", "momentum", 3),
    Case("register_optimizer", "convention", "alpha"),
    Case("register_optimizer", "decay", "none"),
    Case("skip_nonfinite", "skip", "layer"),
    Case("watch", "every", 0),
    Case("theory.correlation", "momentum_correlation", 1.5),
    Case("theory.correlation", "lmo", ("vector", 0)),
    *(Case(f"theory.{name}", "rule", "squared") for name in ("decay", "weight_decay", "reference_weight_decay")),
    *(Case(f"theory.{name}", "lr", -1.0) for name in ("decay_for_norm", "effective_lr", "momentum_for")),
    *(Case(f"theory.{name}", "lr", -1.0) for name in ("reference_weight_decay", "steady_norm_sq")),
    *(Case(f"theory.{name}", "lr", [], "empty") for name in ("forecast", "simulate")),
    *(Case(f"theory.{name}", "decay", 1.0) for name in ("perpendicular_share", "steady_norm_sq", "time_constant")),
    *(Case(f"theory.{name}", "momentum", 1.0) for name in ("decay_for_norm", "effective_lr", "perpendicular_share")),
    *(Case(f"theory.{name}", "lmo", "rms") for name in ("decay_for_norm", "forecast", "power_series", "simulate")),
    *(Case(f"theory.{name}", "steady_norm_sq", 0.01) for name in ("decay_for_norm", "reference_weight_decay")),
    *(Case(f"theory.{name}", "decay", [0.1], "1 values") for name in ("forecast", "simulate")),
    *(Case(f"theory.{name}", "initial_norm_sq", math.nan) for name in ("forecast", "simulate")),
    Case("theory.momentum_for", "effective_lr", 0.05),
    Case("theory.simulate", "dim", 0),
    *(Case(f"theory.{name}", "weight", math.nan) for name in ("adam_l2_step", "adam_path", "adamw_step")),
    Case("theory.adamw_step", "settings", SETTINGS._replace(eps=0.0), "0.0", "eps"),
    Case("theory.adamw_step", "step", 0),
    Case("norms.Spectral", "scale", "mean"),
    Case("norms.Spectral", "split_sizes", (4, 0)),
    *(Case(f"norms.{name}", "steps", 0) for name in ("Spectral",)),
    *(Case(f"norms.{name}", "products", "cuda") for name in ("Spectral", "SpectralConv")),
    Case("norms.SpectralConv", "spatial_dims", 0),
    Case("norms.norm_for", "spec", "round", called="norm"),
    Case("norms.norm_for", "spec", {"name": "round"}, "'round'", "norm"),
]


def case_name(case: Case) -> str:
    return f"{case.name}-{case.argument}-{case.called or case.shown or type(case.value).__name__}"


@pytest.mark.parametrize("name", LEGAL_CALLS)
def test_the_call_that_a_case_spoils_is_legal(name: str) -> None:
    DOCUMENTED[name](**LEGAL_CALLS[name]())


@pytest.mark.parametrize("case", ILLEGAL, ids=case_name)
def test_an_error_names_the_argument_its_value_and_what_to_do(case: Case) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal, warnings.catch_warnings():
        warnings.simplefilter("error")
        DOCUMENTED[case.name](**LEGAL_CALLS[case.name]() | {case.argument: case.value})
    message = str(refusal.value)
    assert faults_of(message, case.called or case.argument, case.shown or repr(case.value)) == [], message


@pytest.mark.parametrize("name", LEGAL_CALLS)
def test_a_case_spells_its_argument_as_the_signature_does(name: str) -> None:
    parameters = inspect.signature(DOCUMENTED[name]).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    arguments = {case.argument for case in ILLEGAL if case.name == name}
    assert arguments and (takes_any or arguments <= parameters.keys())


def test_every_public_name_has_a_case_or_refuses_nothing() -> None:
    assert {case.name for case in ILLEGAL} == LEGAL_CALLS.keys()
    assert DOCUMENTED.keys() - REFUSES_NOTHING == LEGAL_CALLS.keys()
    assert not [name for name in REFUSES_NOTHING if re.search(r"(?m)^ +raise ", inspect.getsource(DOCUMENTED[name]))]


# Every command

# The command line, and what the message must name and show.
COMMANDS: dict[str, tuple[list[str], str, str]] = {
    "train": (["gpt", "--steps", "0"], "steps", "0"),
    "compare": (["gpt", "--optimizers", "scionn"], "optimizer", "'scionn'"),
    "prepare": (["text.txt", "--out", "shards", "--workers", "0"], "workers", "0"),
    "sweep": (["gpt", "--processes", "0"], "processes", "0"),
    "report": (["runs", "--figure", "a.gif"], "figure", "'a.gif'"),
    "reproduce": (["fig4", "--processes", "0"], "processes", "0"),
    "explore": (["--no-browser", "--port", "65536"], "port", "65536"),
    "forecast": (["--lr", "nan", "--steps", "5", "--decay-per-step", "0.1", "--shape", "8x8"], "lr", "nan"),
    "bench": (["--threads", "0"], "threads", "0"),
    "inspect": (["text.txt", "--tolerance", "1"], "--tolerance", "1.0"),
    "export": (["runs", "weights.txt"], "out", "weights.txt"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_option_its_value_and_what_to_do(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("text.txt").write_text("text\n")
    arguments, called, shown = COMMANDS[command]
    with pytest.raises(SystemExit) as left:
        main([command, *arguments])
    assert left.value.code == 2
    message = capsys.readouterr().err.removeprefix("steadydecay: ").rstrip("\n")
    assert "\n" not in message
    assert faults_of(message, called, shown) == [], message


def test_every_command_has_a_case() -> None:
    assert COMMANDS.keys() == {name.lower() for name in NAMES}


# Every raise in the source. Whether its text lacks a value or a remedy cannot be read there: variables hold half of it.

USER_ERRORS = {"ValueError", "TypeError", "LookupError", "OSError", "FileNotFoundError"}


def raises() -> Iterator[tuple[str, bool]]:
    """Where an error for users is raised, and whether it is given anything to say."""
    for path in sorted(SOURCE.rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        for error in (node.exc for node in nodes if isinstance(node, ast.Raise) and node.exc is not None):
            kind = error.func if isinstance(error, ast.Call) else error
            if isinstance(kind, ast.Name) and kind.id in USER_ERRORS:
                yield f"{path.relative_to(SOURCE)}:{error.lineno}", isinstance(error, ast.Call) and bool(error.args)


def test_no_error_is_raised_without_a_message() -> None:
    found = dict(raises())
    assert len(found) > 200
    assert not [place for place, has_message in found.items() if not has_message]
