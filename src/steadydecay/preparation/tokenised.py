"""Turn documents into the tokens of both splits. The tokenising processes import this, so it does without torch."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from steadydecay.preparation.corpus_tokenizer import CorpusTokenizer

SPLITS = ("train", "val")


class Tokenised(NamedTuple):
    """The result of tokenising a batch of documents.

    Attributes:
        tokens: The tokens of each split, uint16 of shape (n,): for each document, the end-of-text token and its text.
        documents: The number of documents in each split.
        empty: The number of documents without text.
        not_utf8: The numbers, in the batch, of the documents that are not UTF-8.
    """

    tokens: dict[str, np.ndarray]
    documents: dict[str, int]
    empty: int
    not_utf8: list[int]


class Encoding(NamedTuple):
    """How documents become tokens. It is pickled once for each process.

    Attributes:
        tokenizer: The tokenizer of the corpus.
        holdout: The share of the documents to validate on.
    """

    tokenizer: CorpusTokenizer
    holdout: float


def tokenised(encoder: Any, encoding: Encoding, contents: Sequence[bytes]) -> Tokenised:
    """Return the tokens of documents, in order.

    Args:
        encoder: `encoder_of(encoding.tokenizer.content)`.
        encoding: How documents become tokens.
        contents: The contents of the documents.
    """
    texts = [_decoded(content) for content in contents]
    kept = [(text, content) for text, content in zip(texts, contents, strict=True) if text]
    encoded = encoder.encode_batch_fast([text for text, _ in kept], add_special_tokens=False)
    begin = [encoding.tokenizer.end_of_text_id]
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for (_, content), one in zip(kept, encoded, strict=True):
        parts[split_of(content, encoding.holdout)].append(np.array(begin + one.ids, dtype=np.uint16))
    return Tokenised(
        tokens={split: np.concatenate([np.empty(0, np.uint16), *parts[split]]) for split in SPLITS},
        documents={split: len(parts[split]) for split in SPLITS},
        empty=texts.count(""),
        not_utf8=[number for number, text in enumerate(texts) if text is None],
    )


def split_of(content: bytes, holdout: float) -> str:
    """Return the split of a document, which its hash alone decides, so that equal texts are in the same split.

    >>> split_of(b"a document", 0.0), split_of(b"a document", 1.0)
    ('train', 'val')
    """
    place = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    return "val" if place < holdout else "train"


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
