"""A worker ends with its parent."""

import os
import signal
import threading

import pytest
import torch

from steadydecay.trials.worker_process import begin_worker


@pytest.mark.usefixtures("one_cpu_thread")
def test_a_worker_whose_parent_died_while_it_loaded_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then its parent is another process, which would never end."""
    has_ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: has_ended.set())
    before = signal.getsignal(signal.SIGINT)
    try:
        begin_worker(torch.get_num_threads(), parent=os.getpid())
        assert has_ended.wait(timeout=30)
    finally:
        signal.signal(signal.SIGINT, before)
