"""`steadydecay explore`."""

from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass
class Explore:
    """Open an interactive page in the browser.

    The page shows AdamW beside Adam with L2, weight norms under a schedule, and what momentum does to the effective
    learning rate.
    """

    port: int = 2718
    """The port on 127.0.0.1, which only this machine can reach. 0 takes any free port."""
    browser: bool = True
    """Open the page in the default browser."""

    def run(self) -> None:
        if find_spec("marimo") is None:
            raise ValueError("explore needs marimo, which is not installed; run pip install 'steadydecay[explore]'")
        from steadydecay.explore.server import serve

        with suppress(KeyboardInterrupt):
            serve(self.port, open_browser=self.browser)
