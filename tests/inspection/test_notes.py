"""The sentences below a table, each when it is due and not otherwise."""

import math
from pathlib import Path
from typing import Any

from steadydecay.inspection.inspected import Inspection
from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.notes import notes_on
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.weight_measures import Measures
from steadydecay.known_optimizers.table import ADAMW


def layer(name: str = "a", norm: float = 3.65, role: str = "hidden", tied: Any = (), **group: Any) -> Layer:
    """Decay 0.01 at lr 0.1: memory 50 steps, predicted norm about √(0.01 · 4 / 0.02) = 1.42."""
    lr_in_file = group.pop("lr_in_file", None)
    settings = LayerSettings(ADAMW, {"lr": 0.1, "weight_decay": 0.1, "role": role} | group, lr_in_file=lr_in_file)
    measures = Measures(norm / 2, norm, (), 5 if math.isnan(norm) else 0)
    return Layer(StoredWeight(name, (2, 2), "float32", tied), name, role, measures, settings)


def notes(
    *layers: Layer, steps: int | None = None, left_out: int = 0, problems: tuple[str, ...] = (), **more: Any
) -> str:
    inspection = Inspection(Path("a"), (Path("a"),), list(layers), left_out, steps, problems, **more)
    return "\n".join(notes_on(inspection, 0.2))


def test_what_is_far_is_counted() -> None:
    assert (
        notes(layer(norm=3.65), layer(norm=1.42)) == "1 of 2 weights with a prediction differ from it by more than 20%."
    )


def test_weights_that_are_not_finite_come_first() -> None:
    text = notes(*(layer(name, math.nan) for name in "abcde"))
    assert text.splitlines()[0] == "a is not finite: 5 of 4 entries are infinite or NaN."
    assert text.splitlines()[3] == "2 more weights are not finite."


def test_without_hyperparameters_the_options_are_named() -> None:
    bare = layer()
    bare = Layer(bare.weight, "a", "hidden", bare.measures, None)
    assert "For predictions, give --lr (the peak) and --weight-decay or --decay" in notes(bare)
    assert "The roles are guessed" in notes(bare)
    assert "No hyperparameters" not in notes(layer())


def test_a_stored_state_that_fits_no_weight_is_told() -> None:
    bare = layer()
    bare = Layer(bare.weight, "a", "hidden", bare.measures, None)
    text = notes(bare, has_state=True)
    assert "The state of an optimizer is stored with these weights, but neither names nor shapes reveal" in text
    assert "No hyperparameters" not in text and "For predictions, give --lr" in text


def test_buffers_are_counted_by_name() -> None:
    names = [f"h.{i}.attn.bias" for i in range(12)] + ["inv_freq", "0.scales", "1.scales"]
    buffers = tuple(StoredWeight(name, (2, 2), "float32") for name in names)
    expected = "as names or values show: h.*.attn.bias (12), inv_freq, *.scales (2)."
    assert expected in notes(layer(), buffers=buffers) and "Buffers" not in notes(layer())
    many = tuple(StoredWeight(f"{letter}.mask", (2, 2), "float32") for letter in "abcdefghij")
    assert notes(layer(), buffers=many).endswith("g.mask, h.mask, and 2 more names.")


def test_tensors_elsewhere_in_the_file_are_told() -> None:
    text = notes(layer(), elsewhere=("ema", "teacher"))
    assert "The weights are elsewhere in the file, so the tensors under 'ema', 'teacher' were not looked at." in text
    assert "the tensors under 'a', 'b', 'c' and 1 more were not looked at." in notes(
        layer(), elsewhere=("a", "b", "c", "d")
    )


def test_a_run_shorter_than_its_memory_says_so() -> None:
    assert "After 149 steps, norms with a memory of 50 steps are still on their way" in notes(layer(), steps=149)
    assert "on their way" not in notes(layer(), steps=151) + notes(layer())


def test_a_constant_decay_under_a_fallen_lr_says_so() -> None:
    text = notes(layer(lr_in_file=0.05))
    assert "AdamW hidden: Under a constant weight_decay the norm follows √lr" in text
    assert "use --at now to predict for the lr in the file" in text
    at_the_end = notes(layer(lr_in_file=0.0))
    assert "follows √lr" in at_the_end and "--at now" not in at_the_end
    corrected = {"decay": "corrected", "reference_lr": 0.1, "reference_momentum": 0.0}
    others = notes(layer(lr_in_file=0.05, **corrected)) + notes(layer(lr_in_file=0.1)) + notes(layer())
    assert "√lr" not in others


def test_an_output_layer_has_a_caveat() -> None:
    assert "Updates of an output layer never become independent" in notes(layer(role="output"))
    assert "output" not in notes(layer())


def test_tied_weights_left_out_tensors_and_problems_are_told() -> None:
    text = notes(layer(tied=("b", "c", "d", "e")), left_out=1234, problems=("optimizer.pt is damaged",))
    assert "Tied weights are listed once: b is a, c is a, d is a and 1 more." in text
    assert "(integers, empty ones) were left out: 1,234." in text
    assert "optimizer.pt is damaged" in text


def test_more_weights_than_the_state_moves_are_told() -> None:
    bare = layer()
    rows = [Layer(bare.weight, name, "hidden", bare.measures, None) for name in ("a", "b", "c")]
    assert "It moves 1 of 3 weights. Copies, such as those of an EMA" in notes(*rows, has_state=True, moved=1)
    assert "copies" not in notes(*rows, has_state=True, moved=3)


def test_weights_that_no_group_moves_beside_others_are_told() -> None:
    bare = layer()
    rows = [bare, *(Layer(bare.weight, name, "hidden", bare.measures, None) for name in ("a", "b"))]
    assert "No group of the stored state is known to move 2 of 3 weights" in notes(*rows, has_state=True, moved=1)
    assert "No group" not in notes(*rows) and "No group" not in notes(bare, has_state=True, moved=1)
