"""`steadydecay bench`."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from steadydecay.bench.benchmark import benchmark
from steadydecay.bench.result_table import notes, result_table
from steadydecay.bench.results import write_result

# On a narrower terminal, the table's lines would wrap.
NARROWEST = 150
DEVICES = ("cpu", "cuda")


@dataclass
class Bench:
    """Measure the time, memory and accuracy of one optimizer step and compare it with other packages.

    Times are also shown relative to the matrix products that a step needs.
    """

    set: str = "gpt-mini"
    """The model whose weight shapes are used: gpt-mini, gpt2-small, gpt2-xl, vit-s16, llama-1b."""
    only: list[str] = field(default_factory=list)
    """The optimizers to time, by names or patterns such as 'scionc*' torch-muon. The default is all of them, and
    ScionC is always timed."""
    repetitions: int = 7
    """How many steps of each optimizer are timed."""
    threads: int | None = None
    """How many threads a CPU uses. By default torch chooses."""
    device: str = "cpu"
    """The device to run on, cpu or cuda."""
    layers: int | None = None
    """Time only this many layers of the model. The result says so."""
    out: Path | None = None
    """Write the result to this file as JSON."""

    def run(self) -> None:
        self._require_device()
        console = Console(width=max(Console().width, NARROWEST))
        progress = Console(stderr=True)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        result = benchmark(
            self.set,
            self.only,
            self.repetitions,
            torch.device(self.device),
            self.layers,
            command=self._command(),
            say=lambda line: progress.print(line, style="dim", markup=False, highlight=False),
        )
        console.print(result_table(result))
        for note in notes(result):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        if self.out is not None:
            write_result(result, self.out)
            console.print(f"result: {self.out}", soft_wrap=True, highlight=False)

    def _require_device(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}; it must be {' or '.join(DEVICES)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is 'cuda', but torch finds no GPU; use --device cpu, or a CUDA build of torch")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; it must be 1 or more")

    def _command(self) -> str:
        """Return the command that repeats this run."""
        options = {"set": self.set, "repetitions": self.repetitions, "device": self.device}
        options |= {"threads": self.threads, "layers": self.layers}
        given = [text for name, value in options.items() if value is not None for text in (f"--{name}", str(value))]
        patterns = ["--only", *self.only] if self.only else []
        return shlex.join(["steadydecay", "bench", *given, *patterns])
