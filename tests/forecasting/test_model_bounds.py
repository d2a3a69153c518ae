"""Bounds of what a configuration may ask for, and that every real one is within them."""

import pytest
from torch import nn

from steadydecay.forecasting import model_bounds
from steadydecay.forecasting.model_bounds import bounded_tensors, require_bounded


@pytest.mark.parametrize(
    "fields",
    [
        {"n_layer": 2001},
        {"encoder_layers": 10**18},
        {"depths": [3, [4, 2001]]},
        {"num_labels": 10**6 + 1},
        {"n_positions": 10**8 + 1},
        {"width": -(10**9)},
        {"text_config": {"vision": [{"NUM_LAYERS": 10**5}]}},
        {"n_layer": 10**5000},
    ],
)
def test_a_number_beyond_its_bound_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^\w+ is .*; it must be at most \d+$") as raised:
        require_bounded(fields)
    assert len(str(raised.value)) < 120


def test_what_real_configurations_hold_is_legal() -> None:
    llama = {"num_hidden_layers": 126, "vocab_size": 128256, "max_position_embeddings": 10485760, "pad_token_id": None}
    others = {"rope_theta": 10**10, "rope_parameters": {"rope_theta": 5 * 10**8}, "seed": 2**63, "use_cache": True}
    labels = {"num_labels": 21843, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "layer_norm_eps": 1e300}
    require_bounded(llama | others | labels | {"layer_types": ["full"] * 126, "depths": [3, 3, 27, 3]})


def test_nesting_as_deep_as_a_reader_goes_is_walked() -> None:
    fields: dict[str, object] = {"n_layer": 2001}
    for _ in range(10**5):
        fields = {"a": fields}
    with pytest.raises(ValueError, match="n_layer is 2001"):
        require_bounded(fields)


def test_tensors_are_counted_while_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_bounds, "MOST_TENSORS", 6)
    with bounded_tensors():
        made = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert len(list(made.parameters())) == 6
    with pytest.raises(ValueError, match="it has more than 6 weight tensors"), bounded_tensors():
        nn.Sequential(*(nn.Linear(2, 2) for _ in range(10**9)))
    nn.Sequential(*(nn.Linear(2, 2) for _ in range(7)))
