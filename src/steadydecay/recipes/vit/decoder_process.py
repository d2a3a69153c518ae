"""How a process that decodes begins: it leaves Ctrl-C to the run that started it, and ends when that does."""

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
    # A run that is killed tells nobody, and its processes would wait for images for ever.
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
