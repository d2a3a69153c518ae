"""Processes that tokenise batches of documents side by side, and give them back in order."""

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from steadydecay.preparation.batches import Batch
from steadydecay.preparation.corpus_tokenizer import encoder_of
from steadydecay.preparation.tokenised import Encoding, Tokenised, tokenised
from steadydecay.recipes import helper_process

# Batches that wait for each process, so that none is idle; more of them only take memory.
AHEAD = 2
_own: dict[str, Any] = {}


def tokenised_in_order(
    batches: Iterable[Batch], encoding: Encoding, processes: int
) -> Generator[tuple[Batch, Tokenised], None, None]:
    """Each batch with its tokens, in the order of the batches; the same for any number of processes.

    Args:
        batches: read as they are needed.
        encoding: how documents become tokens.
        processes: 1 tokenises in this process.

    Raises:
        OSError: a process was killed.
    """
    # Otherwise the tokenizer starts threads of its own in each process.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if processes == 1:
        encoder = encoder_of(encoding.tokenizer.content)
        yield from ((batch, tokenised(encoder, encoding, batch.contents)) for batch in batches)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (encoding,)) as pool:
        try:
            yield from _in_order(pool, batches, AHEAD * processes)
        except BrokenProcessPool:
            raise OSError(
                "a process that tokenises was ended from outside, as happens where memory is short: give the same "
                "command again, which continues where this one stopped, perhaps with fewer --workers"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, batches: Iterable[Batch], most_ahead: int
) -> Iterator[tuple[Batch, Tokenised]]:
    ahead: deque[tuple[Batch, Future[Tokenised]]] = deque()
    for batch in batches:
        ahead.append((batch, pool.submit(_tokenised, batch.contents)))
        if len(ahead) > most_ahead:
            first, future = ahead.popleft()
            yield first, future.result()
    for first, future in ahead:
        yield first, future.result()


def _begin(encoding: Encoding) -> None:
    helper_process.begin()
    _own["encoding"], _own["encoder"] = encoding, encoder_of(encoding.tokenizer.content)


def _tokenised(contents: list[bytes]) -> Tokenised:
    return tokenised(_own["encoder"], _own["encoding"], contents)
