"""Processes that tokenise batches of documents in parallel, and return them in order."""

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

# The number of batches that wait for each process, so that none is idle. More would only take memory.
AHEAD = 2
_own: dict[str, Any] = {}


def tokenised_in_order(
    batches: Iterable[Batch], encoding: Encoding, processes: int
) -> Generator[tuple[Batch, Tokenised], None, None]:
    """Yield each batch with its tokens, in the order of the batches. The result is the same for any number of
    processes.

    Args:
        batches: The batches, which are read when they are needed.
        encoding: How documents become tokens.
        processes: The number of processes. With 1, this process tokenises.

    Raises:
        OSError: A process was killed.
    """
    # Otherwise the tokenizer would start its own threads in each process.
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
                "a process that tokenises was killed, as happens when memory runs out; run the same command again, "
                "which "
                "continues where this one stopped, perhaps with fewer --workers"
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
