import subprocess
import sys

CALL_EVERYTHING_WITHOUT_TORCH = """
import sys

# A module that is None cannot be imported, nor can anything below it.
sys.modules.update({"torch": None, "numpy": None, "scipy": None})

import steadydecay
from steadydecay import theory
from steadydecay.theory import filters

reference = theory.Reference(lr=0.1, weight_decay=0.1, momentum=0.9)
adam = theory.AdamSettings(lr=0.1, weight_decay=0.1)
calls = {
    "AdamMoments": lambda: theory.AdamMoments(0.1, 0.1),
    "AdamSettings": lambda: theory.AdamSettings(0.1, 0.1),
    "AdamStep": lambda: theory.AdamStep(0.1, theory.AdamMoments(), 0.0, 0.0, 0.4),
    "adam_l2_step": lambda: theory.adam_l2_step(0.4, 0.1, adam),
    "adam_path": lambda: theory.adam_path(theory.adamw_step, 0.4, [0.0, 0.1], adam),
    "adamw_step": lambda: theory.adamw_step(0.4, 0.1, adam, theory.AdamMoments(), 3),
    "MomentumFilter": lambda: theory.effective_lr(0.1, theory.MomentumFilter(0.9, 0.9)),
    "Reference": lambda: theory.Reference(0.1, 0.1),
    "correlation": lambda: theory.correlation(0.5, ("spectral", 8, 16)),
    "decay": lambda: theory.decay(0.05, 0.9, True, reference, "exact"),
    "decay_for_norm": lambda: theory.decay_for_norm(2.0, 0.1, 0.9),
    "effective_lr": lambda: theory.effective_lr(0.1, 0.9),
    "exponential_average": lambda: theory.exponential_average(0.9),
    "lion_average": lambda: theory.lion_average(0.9, 0.99),
    "nesterov_average": lambda: theory.nesterov_average(0.9),
    "forecast": lambda: theory.forecast([0.1] * 9, 0.01, 0.9, lmo="sign"),
    "momentum_for": lambda: theory.momentum_for(0.2, 0.1, nesterov=True),
    "perpendicular_share": lambda: theory.perpendicular_share(0.1, 0.9, lmo=("vector", 3)),
    "power_series": lambda: theory.power_series("sign"),
    "reference_weight_decay": lambda: theory.reference_weight_decay(2.0, 0.1, 0.9, rule="corrected"),
    "steady_norm_sq": lambda: theory.steady_norm_sq(0.1, 0.01, 0.9, nesterov=True),
    "time_constant": lambda: theory.time_constant(0.01),
    "weight_decay": lambda: [theory.weight_decay(0.05, 0.9, False, reference, rule) for rule in theory.DECAY_RULES],
}
for call in calls.values():
    call()
filters.momentum_filter(0.9)
assert steadydecay.theory is theory
# Alone of all, the simulation drives an optimizer.
pure = [name for name in theory.__all__ if name != "simulate"]
not_called = [name for name in pure if callable(getattr(theory, name)) and name not in calls]
assert not not_called, not_called
assert not [name for name in sys.modules if name.startswith(("torch.", "numpy.", "scipy."))]
"""


def test_theory_works_where_torch_cannot_be_imported() -> None:
    run = subprocess.run([sys.executable, "-c", CALL_EVERYTHING_WITHOUT_TORCH], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_block_would_catch_an_import() -> None:
    code = CALL_EVERYTHING_WITHOUT_TORCH.replace("import steadydecay\n", "import torch\n")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode != 0
    assert "import of torch halted" in run.stderr
