"""What programs that end on Ctrl-C need of the tests that start them."""

import signal


def take_control_c() -> None:
    """For Popen's preexec_fn: a shell's background jobs, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
