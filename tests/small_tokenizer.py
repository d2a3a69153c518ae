"""A tokenizer of single bytes, in the format of Hugging Face's tokenizers."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers


def write_tokenizer(path: Path, *special: str, size: int = 256, **changes: Any) -> Path:
    """Tokens are the bytes, words that nobody uses up to `size`, and special ones; `changes` are fields of the file."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"unused{number}" for number in range(size - 256))]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(list(special))
    path.write_text(json.dumps(json.loads(tokenizer.to_str()) | changes), encoding="utf-8")
    return path
