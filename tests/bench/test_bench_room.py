"""What fits into memory."""

import re

import pytest

from steadydecay.bench.room import contenders_beside_reference, require_room


def test_more_memory_has_room_for_more() -> None:
    assert [contenders_beside_reference(1000, memory) for memory in (0, 41_000, 41_250, 56_250, 10**6)] == [
        0,
        0,
        1,
        2,
        64,
    ]


def test_a_set_that_fits_says_beside_how_many() -> None:
    assert require_room("x", 1000, layers=4, block=200, memory=56_250) == 2


@pytest.mark.parametrize(("memory", "remedy"), [(33_000, "use --layers 3 or fewer"), (12_000, "use a smaller set")])
def test_a_set_that_does_not_fit_says_what_would(memory: int, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as error:
        require_room("gpt9", 1000, layers=4, block=200, memory=memory)
    assert str(error.value).startswith("set 'gpt9' with 4 layers has 0.00 billion parameters. Two optimizers")


def test_the_remedy_fits_and_one_layer_more_does_not() -> None:
    layers, block, rest, memory = 48, 30_720_000, 83_000_000, 24_000_000_000
    with pytest.raises(ValueError, match="--layers") as error:
        require_room("gpt2-xl", rest + layers * block, layers, block, memory)
    found = re.search(r"--layers (\d+)", str(error.value))
    assert found
    fitting = int(found[1])
    assert contenders_beside_reference(rest + fitting * block, memory) == 1
    assert contenders_beside_reference(rest + (fitting + 1) * block, memory) == 0
