import math

import pytest

from steadydecay.theory.validation import require_in


@pytest.mark.parametrize("value", [1e-300, 0.5, 0.9999999999999999])
def test_accepts_what_lies_inside(value: float) -> None:
    require_in("momentum", value, 0, 1)


def test_low_end_is_legal_only_when_included() -> None:
    require_in("lr", 0.0, 0, include_low=True)
    with pytest.raises(ValueError, match=r"^lr is 0\.0; it must be in \(0, inf\)$"):
        require_in("lr", 0.0, 0)


@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, -math.inf, math.inf, math.nan])
def test_refuses_what_lies_outside(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^momentum is {value!r}; it must be in \[0, 1\)$"):
        require_in("momentum", value, 0, 1, include_low=True)


def test_infinity_is_not_a_number_to_train_with() -> None:
    with pytest.raises(ValueError, match=r"^lr is inf; it must be in \[0, inf\)$"):
        require_in("lr", math.inf, 0, include_low=True)


def test_error_names_argument_value_range_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"^decay is 1\.5; it must be in \(0, 1\): lower weight_decay$"):
        require_in("decay", 1.5, 0, 1, remedy="lower weight_decay")
