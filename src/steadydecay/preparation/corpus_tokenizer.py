"""The tokenizer for a corpus: GPT-2's, which comes with the package, or a `tokenizer.json` of your own."""

import gzip
import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, final

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from steadydecay.run_log.plain_file import open_plain

GPT2 = "gpt2"
GPT2_MERGES = "gpt2_merges.txt.gz"
TOKENIZER_FILE = "tokenizer.json"
# Searched in this order.
USUAL_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
# The largest vocabulary for the uint16 tokens of a shard.
LARGEST_VOCABULARY = 2**16


@final
@dataclass(frozen=True)
class CorpusTokenizer:
    """A tokenizer and what the manifest says about it.

    Attributes:
        name: The name as it was given.
        sha256: The hash of the file that it comes from.
        vocabulary_size: The largest token plus one, at most 65,536.
        end_of_text: The text that precedes each document.
        end_of_text_id: The same as a token.
        content: The whole tokenizer in the format of `tokenizer.json`.
    """

    name: str
    sha256: str
    vocabulary_size: int
    end_of_text: str
    end_of_text_id: int
    content: str = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says about the tokenizer."""
        return {name: value for name, value in vars(self).items() if name != "content"}


def load_tokenizer(given: str, end_of_text: str | None = None) -> CorpusTokenizer:
    """Load a tokenizer.

    Args:
        given: "gpt2", a `tokenizer.json` in the format of Hugging Face's tokenizers, or a folder with such a file.
        end_of_text: The token to put before each document. None takes the first of `USUAL_ENDS_OF_TEXT` that the
            vocabulary has.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a tokenizer, its vocabulary is too large for uint16, or it lacks the end-of-text token.
    """
    tokenizer, sha256 = _gpt2() if given == GPT2 else _from_file(Path(given))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    size = max(vocabulary.values(), default=-1) + 1
    if not 1 <= size <= LARGEST_VOCABULARY:
        raise ValueError(
            f"tokenizer {given!r} has a vocabulary of {size:,} tokens; it must have 1 to {LARGEST_VOCABULARY:,}, the "
            "limit "
            "of the uint16 tokens of a shard. Give a tokenizer with a smaller vocabulary."
        )
    end = _end_of_text(given, vocabulary, end_of_text)
    return CorpusTokenizer(given, sha256, size, end, vocabulary[end], tokenizer.to_str())


def encoder_of(content: str) -> Tokenizer:
    """Return a tokenizer that encodes a whole document as text, even parts that look like special tokens.

    Args:
        content: The tokenizer in the format of `tokenizer.json`.
    """
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    # Files may limit the length of a model's inputs, but a document of a corpus keeps its length.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _gpt2() -> tuple[Tokenizer, str]:
    """Build GPT-2's tokenizer: its tokens are the 256 bytes, one token per merge, and the end of text, in this
    order."""
    text = gzip.decompress(files("steadydecay.preparation").joinpath(GPT2_MERGES).read_bytes())
    pairs = [line.split(" ") for line in text.decode().splitlines()[1:]]
    # Printable bytes stand for themselves and come first. The others follow as characters from 256 on.
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in pairs)]
    merges = [(left, right) for left, right in pairs]
    tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens([AddedToken(USUAL_ENDS_OF_TEXT[0], special=True)])
    return tokenizer, hashlib.sha256(text).hexdigest()


def _from_file(path: Path) -> tuple[Tokenizer, str]:
    path = path / TOKENIZER_FILE if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(
            f"tokenizer is {str(path)!r}, which does not exist. Give {GPT2}, which needs no file, a {TOKENIZER_FILE} "
            "of "
            "Hugging Face's tokenizers, or a folder that contains one."
        )
    with open_plain(path) as file:
        content = file.read()
    try:
        return Tokenizer.from_str(content.decode()), hashlib.sha256(content).hexdigest()
    # The parser raises plain Exceptions.
    except Exception as error:
        raise ValueError(
            f"{path} is not a {TOKENIZER_FILE} of Hugging Face's tokenizers ({error}); give one that "
            "AutoTokenizer.save_pretrained writes"
        ) from None


def _end_of_text(given: str, vocabulary: dict[str, int], wanted: str | None) -> str:
    candidates = USUAL_ENDS_OF_TEXT if wanted is None else (wanted,)
    found = next((token for token in candidates if token in vocabulary), None)
    if found is None:
        raise ValueError(
            f"tokenizer {given!r} has no token {' or '.join(candidates)} to put before each document; say with "
            "--end-of-text which of its tokens to use"
        )
    return found
