"""What is no tensor of the right shape is refused by its key and the name of its weight."""

from typing import Any

import pytest
import torch

from steadydecay.tensors.legal_state import require_like_weight, require_one_number


@pytest.mark.parametrize("held", [None, "x", [1.0], 1.0, torch.zeros(2), torch.zeros(3, 2), torch.zeros(())])
def test_only_a_tensor_of_the_shape_of_the_weight_is_legal(held: Any) -> None:
    require_like_weight(torch.zeros(2, 3), torch.ones(2, 3), "momentum", "w")
    with pytest.raises(
        ValueError, match=r"'momentum' in the state of w .*it must be a tensor of the weight's shape \(2, 3\)"
    ):
        require_like_weight(held, torch.ones(2, 3), "momentum", "w")


@pytest.mark.parametrize("held", [None, "1", [1.0], torch.zeros(2), torch.zeros(0), torch.tensor(1j)])
def test_only_a_real_tensor_of_one_entry_is_legal(held: Any) -> None:
    require_one_number(torch.zeros(()), "step", "w")
    with pytest.raises(ValueError, match=r"'step' in the state of w is .*it must be a real 0-d tensor"):
        require_one_number(held, "step", "w")
