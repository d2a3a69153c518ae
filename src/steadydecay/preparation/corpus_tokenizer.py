"""The tokenizer of a corpus: GPT-2's, which comes with the package, or a `tokenizer.json` that is given."""

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
# In the order in which they are looked for.
USUAL_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
# What the uint16 of a shard can hold.
LARGEST_VOCABULARY = 2**16


@final
@dataclass(frozen=True)
class CorpusTokenizer:
    """A tokenizer and what the manifest says of it.

    Attributes:
        name: as it was given.
        sha256: of the file that it comes from.
        vocabulary_size: the largest token plus one, at most 65,536.
        end_of_text: what stands before each document, as text.
        end_of_text_id: the same as a token.
        content: the whole tokenizer in the format of `tokenizer.json`.
    """

    name: str
    sha256: str
    vocabulary_size: int
    end_of_text: str
    end_of_text_id: int
    content: str = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {name: value for name, value in vars(self).items() if name != "content"}


def load_tokenizer(given: str, end_of_text: str | None = None) -> CorpusTokenizer:
    """The tokenizer that is named.

    Args:
        given: "gpt2", a `tokenizer.json` in the format of Hugging Face's tokenizers, or a folder that holds one.
        end_of_text: the token that stands before each document; None takes the first of `USUAL_ENDS_OF_TEXT` that the
            vocabulary has.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a tokenizer, its vocabulary is too large for uint16, or it lacks the end-of-text token.
    """
    tokenizer, sha256 = _gpt2() if given == GPT2 else _from_file(Path(given))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    size = max(vocabulary.values(), default=-1) + 1
    if not 1 <= size <= LARGEST_VOCABULARY:
        raise ValueError(
            f"tokenizer {given!r} has a vocabulary of {size:,} tokens; legal is 1 to {LARGEST_VOCABULARY:,}, which is "
            "what the uint16 tokens of a shard can hold: give a tokenizer with a smaller vocabulary"
        )
    end = _end_of_text(given, vocabulary, end_of_text)
    return CorpusTokenizer(given, sha256, size, end, vocabulary[end], tokenizer.to_str())


def encoder_of(content: str) -> Tokenizer:
    """A tokenizer that encodes all of a document as text, even what looks like a special token.

    Args:
        content: in the format of `tokenizer.json`.
    """
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    # Files say how long the inputs of their model may be; a document of a corpus keeps its length.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _gpt2() -> tuple[Tokenizer, str]:
    """GPT-2's tokens are the 256 bytes, one token for each merge, and the end of text, in this order."""
    text = gzip.decompress(files("steadydecay.preparation").joinpath(GPT2_MERGES).read_bytes())
    pairs = [line.split(" ") for line in text.decode().splitlines()[1:]]
    # Bytes that can be seen stand for themselves and come first; the others follow as characters from 256 on.
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
            f"tokenizer is {str(path)!r}, and nothing is there; legal is {GPT2}, which needs no file, a "
            f"{TOKENIZER_FILE} of Hugging Face's tokenizers, or a folder that holds one"
        )
    with open_plain(path) as file:
        content = file.read()
    try:
        return Tokenizer.from_str(content.decode()), hashlib.sha256(content).hexdigest()
    # The parser raises plain Exceptions.
    except Exception as error:
        raise ValueError(
            f"{path} is not a {TOKENIZER_FILE} of Hugging Face's tokenizers ({error}); legal is one that "
            "AutoTokenizer.save_pretrained writes"
        ) from None


def _end_of_text(given: str, vocabulary: dict[str, int], wanted: str | None) -> str:
    candidates = USUAL_ENDS_OF_TEXT if wanted is None else (wanted,)
    found = next((token for token in candidates if token in vocabulary), None)
    if found is None:
        raise ValueError(
            f"tokenizer {given!r} has no token {' or '.join(candidates)} to stand before each document: say with "
            "--end-of-text which of its tokens does"
        )
    return found
