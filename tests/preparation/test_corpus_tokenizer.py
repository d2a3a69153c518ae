"""GPT-2's tokens from the packaged merges against byte-pair encoding written from its definition; other tokenizers."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
import regex

from small_tokenizer import write_tokenizer
from steadydecay.preparation.corpus_tokenizer import CorpusTokenizer, encoder_of, load_tokenizer

GPT2_WORDS = regex.compile(r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
PAGE = (
    Path(__file__).read_text(encoding="utf-8")
    + "Ⅷ naïve café Größe — “quotes” … Здравствуй, мир! 你好，世界 🙂👩‍👩‍👧"
    + " e\u0301 \u00a0x\u2003y\r\n\r\n\t\t\n   it's I'LL we've\n"
    + "12345678901234567890  \x00\x07 <|endoftext|>\n\n\n"
)


@pytest.fixture(scope="module")
def gpt2() -> CorpusTokenizer:
    return load_tokenizer("gpt2")


@cache
def merge_ranks() -> tuple[dict[bytes, int], dict[tuple[bytes, bytes], int]]:
    """Tokens, and ranks of pairs, from the merges of the package alone."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = visible + [byte for byte in range(256) if byte not in visible]
    byte_of = {chr(byte): byte for byte in visible}
    byte_of |= {chr(256 + place): byte for place, byte in enumerate(order[len(visible) :])}
    text = gzip.decompress(files("steadydecay.preparation").joinpath("gpt2_merges.txt.gz").read_bytes()).decode()
    tokens = {bytes([byte]): number for number, byte in enumerate(order)}
    ranks: dict[tuple[bytes, bytes], int] = {}
    for line in text.splitlines()[1:]:
        left, right = (bytes(byte_of[character] for character in part) for part in line.split(" "))
        ranks[left, right] = len(ranks)
        tokens[left + right] = len(tokens)
    return tokens, ranks


def slow_encoding(text: str) -> list[int]:
    """Always the pair of the lowest rank first, within each word."""
    tokens, ranks = merge_ranks()
    found = []
    for word in GPT2_WORDS.findall(text):
        parts = [bytes([byte]) for byte in word.encode()]
        while pairs := [pair for pair in pairwise(parts) if pair in ranks]:
            first = min(pairs, key=lambda pair: ranks[pair])
            place = list(pairwise(parts)).index(first)
            parts[place : place + 2] = [first[0] + first[1]]
        found += [tokens[part] for part in parts]
    return found


def test_the_packaged_merges_are_the_original_file(gpt2: CorpusTokenizer) -> None:
    """The SHA-256 of OpenAI's vocab.bpe, as tiktoken checks it after its download."""
    assert gpt2.sha256 == "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
    facts = {"name": "gpt2", "sha256": gpt2.sha256, "vocabulary_size": 50257}
    assert gpt2.facts() == facts | {"end_of_text": "<|endoftext|>", "end_of_text_id": 50256}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [15496, 995]),
        (" the", [262]),
        ("!", [0]),
        ("", []),
        # As tiktoken's encode_ordinary: in a document it is no end of text.
        ("a<|endoftext|>b", [64, 27, 91, 437, 1659, 5239, 91, 29, 65]),
    ],
)
def test_gpt2_gives_the_known_tokens(gpt2: CorpusTokenizer, text: str, ids: list[int]) -> None:
    assert encoder_of(gpt2.content).encode(text, add_special_tokens=False).ids == ids


def test_a_page_is_encoded_as_by_definition_and_comes_back(gpt2: CorpusTokenizer) -> None:
    encoder = encoder_of(gpt2.content)
    ids = encoder.encode(PAGE, add_special_tokens=False).ids
    assert ids == slow_encoding(PAGE)
    assert encoder.decode(ids) == PAGE


def test_every_token_is_its_bytes(gpt2: CorpusTokenizer) -> None:
    tokens, _ = merge_ranks()
    encoder = encoder_of(gpt2.content)
    readable = {token: number for token, number in tokens.items() if token.isascii() and token.isalpha()}
    assert len(readable) > 14_000
    assert encoder.decode_batch([[number] for number in readable.values()]) == [token.decode() for token in readable]


def test_a_tokenizer_of_ones_own_is_known_by_its_file(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json", "<s>", "</s>", size=300)
    for given in (path, tmp_path):
        loaded = load_tokenizer(str(given))
        assert (loaded.vocabulary_size, loaded.end_of_text, loaded.end_of_text_id) == (302, "</s>", 301)
        assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_tokenizer(str(path), "<s>").end_of_text_id == 300


def test_documents_keep_their_length_whatever_the_file_says(tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    padding |= {"pad_type_id": 0, "pad_token": "x"}
    path = write_tokenizer(tmp_path / "t.json", "</s>", truncation=truncation, padding=padding)
    encoder = encoder_of(load_tokenizer(str(path)).content)
    encoded = encoder.encode_batch_fast(["abc", "abcdefgh"], add_special_tokens=False)
    assert [len(one.ids) for one in encoded] == [3, 8]


def test_what_uint16_can_hold_is_the_largest_vocabulary(tmp_path: Path) -> None:
    largest = write_tokenizer(tmp_path / "largest.json", "</s>", size=2**16 - 1)
    assert load_tokenizer(str(largest)).vocabulary_size == 2**16
    larger = write_tokenizer(tmp_path / "larger.json", "</s>", size=2**16)
    with pytest.raises(ValueError, match=r"has a vocabulary of 65,537 tokens; it must have 1 to 65,536, the limit"):
        load_tokenizer(str(larger))


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path: Path) -> None:
    path = str(write_tokenizer(tmp_path / "t.json", "[SEP]", size=300))
    with pytest.raises(ValueError, match=r"has no token <\|endoftext\|> or .* to put before each .*--end-of-text"):
        load_tokenizer(path)
    with pytest.raises(ValueError, match=r"has no token \[EOS\] to put before"):
        load_tokenizer(path, "[EOS]")
    assert load_tokenizer(path, "[SEP]").end_of_text_id == 300


@pytest.mark.parametrize("content", [b"IQ== 0\nIg== 1\n", b"{}", b"\xff\xfe"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r50k_base.tiktoken").write_bytes(content)
    with pytest.raises(ValueError, match=r"r50k_base\.tiktoken is not a tokenizer\.json of Hugging Face's tokenizers"):
        load_tokenizer(str(tmp_path / "r50k_base.tiktoken"))


def test_a_tokenizer_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json', which does not exist\. Give gpt2, which needs"):
        load_tokenizer(str(tmp_path))
