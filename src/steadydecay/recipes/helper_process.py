"""How a process that helps begins: it leaves Ctrl-C to the process that started it, and ends when that one does."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def begin() -> None:
    """Call it first; it returns at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed tells nobody, and its processes would wait for work for ever.
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
