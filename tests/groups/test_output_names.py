"""What outputs are called."""

import pytest
from torch import nn

from steadydecay.groups.output_names import is_head_class, is_head_name, is_weak_name


@pytest.mark.parametrize("name", ["lm_head", "to_logits", "start_logits", "head_dist", "qa_outputs", "box_predictor"])
def test_names_of_outputs(name: str) -> None:
    assert is_head_name(name)


@pytest.mark.parametrize(
    "name", ["fc", "output", "attention_heads", "pooling_head", "pre_classifier", "header", "proj"]
)
def test_names_that_do_not_tell(name: str) -> None:
    assert not is_head_name(name)


@pytest.mark.parametrize("name", ["fc", "output", "final_layer", "conv_out", "outc", "last_conv", "readout"])
def test_names_that_hidden_layers_have_too(name: str) -> None:
    assert is_weak_name(name)
    assert not is_head_name(name)


@pytest.mark.parametrize("name", ["fc1", "output_dropout", "conv1", "convolution", "layers"])
def test_names_that_say_nothing_of_an_output(name: str) -> None:
    assert not is_weak_name(name)


def of_class(name: str) -> nn.Module:
    return type(name, (nn.Module,), {})()


def test_classes_of_outputs() -> None:
    names = (
        "ArcMarginProduct",
        "CosFace",
        "AMSoftmaxLoss",
        "AdaptiveSoftmax",
        "ClassificationHead",
        "LMHead",
        "Unembed",
    )
    assert [name for name in names if not is_head_class(of_class(name))] == []
    assert is_head_class(nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3]))


def test_classes_of_no_output() -> None:
    names = ("Head", "AttentionHead", "MultiHeadAttention", "PositionHeadings", "FaceDetector", "Softmax", "ValueNet")
    assert [name for name in names if is_head_class(of_class(name))] == []
