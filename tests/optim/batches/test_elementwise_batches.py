"""What is stepped at once: every entry once, in views of the weights themselves."""

import pytest
import torch
from torch import Tensor, nn

from steadydecay.optim.batches import elementwise_batches
from steadydecay.optim.batches.elementwise_batches import (
    COMPILED,
    ON_CPU,
    ON_GPU,
    Sizes,
    batches_of,
    packed,
    sizes_on,
    slices_of,
)
from steadydecay.optim.batches.parts import Part

CHANNELS_LAST = torch.randn(6, 5, 3, 2).to(memory_format=torch.channels_last)
TENSORS: dict[str, Tensor] = {
    "vector": torch.randn(103),
    "matrix": torch.randn(20, 7),
    "one row": torch.randn(1, 103),
    "transposed": torch.randn(20, 7).t(),
    "every second": torch.randn(40, 7)[::2],
    "channels last": CHANNELS_LAST,
    "scalar": torch.randn(()),
    "empty": torch.randn(0, 3),
}


def part_of(*shape: int, dtype: torch.dtype = torch.float32) -> Part:
    weight = nn.Parameter(torch.randn(shape, dtype=dtype))
    return Part(weight, torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype), None)


def sizes_of(batches: list[list[Part]]) -> list[list[int]]:
    return [[part.weight.numel() for part in batch] for batch in batches]


@pytest.mark.parametrize("most", [1, 7, 64, 10_000])
@pytest.mark.parametrize("name", TENSORS)
def test_slices_are_views_of_every_entry_once(name: str, most: int) -> None:
    tensor, other = TENSORS[name].clone(), torch.zeros_like(TENSORS[name])
    before = tensor.clone()
    for entries, other_entries in slices_of((tensor, other), most):
        other_entries.copy_(entries)
        entries.add_(1)
    assert other.equal(before), "slices of two tensors do not correspond"
    assert tensor.equal(before + 1), "not every entry once"


@pytest.mark.parametrize(("name", "longest"), [("vector", 7), ("matrix", 7), ("one row", 7), ("transposed", 20)])
def test_slices_are_short_and_of_equal_length(name: str, longest: int) -> None:
    sizes = [entries.numel() for entries, _ in slices_of((TENSORS[name], TENSORS[name]), 7)]
    assert max(sizes) <= longest
    assert all(size == sizes[0] for size in sizes[:-1])
    assert len(sizes) > 1


def test_slices_correspond_where_only_one_tensor_is_contiguous() -> None:
    tensor = torch.randn(20, 7)
    other = tensor.t().contiguous().t()
    for entries, other_entries in slices_of((tensor, other), 30):
        assert entries.equal(other_entries)


def test_a_sharded_tensor_is_left_whole() -> None:
    class Sharded(Tensor):
        pass

    sharded = torch.randn(103).as_subclass(Sharded)
    assert [entries for entries, _ in slices_of((sharded, sharded), 7)] == [sharded]


def test_small_weights_share_lists_and_large_ones_have_their_own() -> None:
    parts = [part_of(size) for size in (4, 5, 21, 6, 10, 7, 100, 3)]
    found = list(packed(parts, Sizes(alone=15, together=20)))
    assert sizes_of(found) == [[11], [10], [4, 5, 6], *[[15]] * 6, [10], [10, 7, 3]]
    whole = [part for batch in found for part in batch if part.weight.numel() < 10]
    assert all(any(part is one for one in parts) for part in whole)


def test_a_list_is_never_empty() -> None:
    assert sizes_of(list(packed([part_of(20), part_of(3), part_of(0)], Sizes(10, 30)))) == [[10], [10], [3, 0]]
    assert list(packed([], Sizes(10, 30))) == []


def test_a_compensation_is_cut_too() -> None:
    part = part_of(20)._replace(compensation=torch.arange(20.0))
    found = [entries.compensation for (entries,) in packed([part], Sizes(10, 10))]
    assert [tensor.tolist() for tensor in found if tensor is not None] == [list(range(10)), list(range(10, 20))]


def test_lists_are_of_one_device_and_dtype() -> None:
    wide, narrow = part_of(3), part_of(3, dtype=torch.bfloat16)
    mixed = Part(narrow.weight, wide.gradient, narrow.average, None)
    elsewhere = Part(wide.weight.to("meta"), wide.gradient.to("meta"), wide.average.to("meta"), None)
    given = [wide, narrow, mixed, elsewhere, part_of(4), part_of(5, dtype=torch.bfloat16)]
    found = [[id(part) for part in batch] for batch in batches_of(given)]
    assert found == [[id(given[index]) for index in of] for of in ((0, 4), (1, 5), (2,), (3,))]


def test_without_foreach_every_list_is_of_one() -> None:
    assert sizes_of(list(batches_of([part_of(4), part_of(0), part_of(5)], foreach=False))) == [[4], [0], [5]]
    assert sizes_of(list(batches_of([part_of(4), part_of(0), part_of(5)], foreach=True))) == [[4, 0, 5]]


def test_sizes_are_those_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes_on(torch.device("cpu")) == ON_CPU
    assert sizes_on(torch.device("cuda")) == ON_GPU
    monkeypatch.setattr(elementwise_batches, "ON_CPU", Sizes(10, 5))
    assert sizes_of(list(batches_of([part_of(20)]))) == [[10], [10]]


def test_the_compiler_gets_whole_weights() -> None:
    def sized(tensor: Tensor) -> Tensor:
        return tensor + sizes_on(tensor.device).together

    torch._dynamo.reset()
    result = torch.compile(sized, backend="eager")(torch.zeros((), dtype=torch.int64))
    assert result == COMPILED.together
