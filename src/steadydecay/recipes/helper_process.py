"""Set up a helper process: it leaves Ctrl-C to the process that started it, and ends together with that process."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def begin() -> None:
    """Set up this process. Call it first; it returns at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed cannot notify its children, which would wait for work forever.
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
