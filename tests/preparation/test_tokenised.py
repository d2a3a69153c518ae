"""Documents become tokens of two splits, side by side or one after the other."""

import hashlib
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from steadydecay.preparation.batches import Batch, Place
from steadydecay.preparation.corpus_tokenizer import encoder_of, load_tokenizer
from steadydecay.preparation.tokenised import Encoding, split_of, tokenised
from steadydecay.preparation.tokenising_processes import tokenised_in_order

CONTENTS = [b"Hello world", b"", b"Gr\xf6\xdfe", b" the", b"<|endoftext|>", "Größe".encode()]


@pytest.fixture(scope="module")
def encoding() -> Encoding:
    return Encoding(load_tokenizer("gpt2"), 0.5)


def test_the_end_of_text_stands_before_each_document(encoding: Encoding) -> None:
    found = tokenised(encoder_of(encoding.tokenizer.content), encoding._replace(holdout=0.0), CONTENTS)
    expected = [50256, 15496, 995, 50256, 262, 50256, 27, 91, 437, 1659, 5239, 91, 29, 50256, 8642, 9101, 39683, 68]
    assert found.tokens["train"].tolist() == expected
    assert found.tokens["train"].dtype == found.tokens["val"].dtype == np.uint16
    assert (found.documents, found.empty, found.not_utf8) == ({"train": 4, "val": 0}, 1, [2])


def test_the_hash_of_its_content_is_the_side_of_a_document(encoding: Encoding) -> None:
    encoder = encoder_of(encoding.tokenizer.content)
    documents = [f"document {number}".encode() for number in range(200)]
    sides = {"train": [], "val": []}
    for content in documents:
        sides["val" if hashlib.sha256(content).digest()[0] < 128 else "train"].append(content)
    found = tokenised(encoder, encoding, documents)
    for side, contents in sides.items():
        alone = tokenised(encoder, encoding, contents)
        assert alone.documents[side] == found.documents[side] == len(contents)
        assert np.array_equal(alone.tokens[side], found.tokens[side])


def test_a_larger_holdout_has_all_of_a_smaller_one() -> None:
    documents = [f"document {number}".encode() for number in range(10_000)]
    held = {share: {one for one in documents if split_of(one, share) == "val"} for share in (0.0, 0.01, 0.1)}
    assert not held[0.0]
    assert held[0.01] < held[0.1]
    assert 60 < len(held[0.01]) < 140 and 880 < len(held[0.1]) < 1120


def batches_of(contents: list[list[bytes]]) -> list[Batch]:
    return [Batch(one, Place(0, number), "a", 0) for number, one in enumerate(contents)]


def test_processes_give_the_same_in_the_same_order(encoding: Encoding) -> None:
    given = batches_of([[f"{number} {'word ' * (1000 - number)}".encode()] * 3 for number in range(30)])
    here, there = (list(tokenised_in_order(given, encoding, processes)) for processes in (1, 2))
    assert [batch for batch, _ in here] == [batch for batch, _ in there] == given
    for (_, one), (_, other) in zip(here, there, strict=True):
        assert one[1:] == other[1:]
        assert all(np.array_equal(one.tokens[split], other.tokens[split]) for split in ("train", "val"))


def test_a_process_that_is_killed_is_said_so_and_none_is_left(encoding: Encoding) -> None:
    def endless() -> Iterator[Batch]:
        while True:
            yield from batches_of([[b"text"]])

    before = children()
    results = tokenised_in_order(endless(), encoding, 2)
    next(results)
    os.kill(next(iter(children() - before)), signal.SIGKILL)
    with pytest.raises(OSError, match=r"a process that tokenises was killed, .* the same command again"):
        for _ in results:
            pass
    assert children() <= before


def children() -> set[int]:
    """Processes that tokenise, of this one."""
    import multiprocessing

    return {process.pid for process in multiprocessing.active_children() if process.pid}
