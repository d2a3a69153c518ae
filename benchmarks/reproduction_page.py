"""Write docs/reproduction.md from the results of `steadydecay reproduce`.

    python benchmarks/reproduction_page.py

Every verdict and number on the page is read from results/NAME/embedded/verdict.json; nothing is written by hand.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from steadydecay.experiments.criterion import RULE
from steadydecay.experiments.experiment import Experiment
from steadydecay.experiments.named_experiments import EXPERIMENTS
from steadydecay.experiments.reproduction import FIGURE_NAME, VERDICT_NAME
from steadydecay.experiments.scales import KINDS

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs/reproduction.md", ROOT / "results"
INTRODUCTION = """\
# The paper, repeated

Every figure and table of "Correction of Decoupled Weight Decay" (arXiv 2512.08217) is an experiment that you can run:

```sh
pip install -e '.[recipes,report,vit]'
steadydecay reproduce fig4        # one experiment
steadydecay reproduce all         # all of them; what an earlier command trained is reused
```

This page shows what they found at the **embedded** scale: a ViT with 2 layers of width 48 on scikit-learn's 8 × 8
digits, and a GPT with 2 layers of width 64 on the standard library's own text, trained for some hundred steps each.
This scale shows laws of norms and learning rates well. It is a poor judge of small differences in accuracy, and the
tables say how small a difference they could have seen. `--scale paper --data …` runs the paper's own models on GPUs.

**How a verdict is made.** {rule} The criteria are in the source of each experiment. They were committed before the
runs, except where first results showed that a criterion, a size or a number of seeds was badly chosen.
[log.md](log.md) lists each such change under "The paper, repeated". This page is written by
`python benchmarks/reproduction_page.py` from `results/NAME/embedded/verdict.json`.

Cost is the sum of the time that all training steps of an experiment took, on one CPU core each. Experiments share runs,
so all of them together cost less than the sum.
"""


def page() -> str:
    """The whole page; an experiment without results is said to have none."""
    found = {name: verdict_of(name) for name in EXPERIMENTS}
    sections = [section(name, EXPERIMENTS[name], content) for name, content in found.items()]
    return "\n".join([INTRODUCTION.format(rule=RULE), overview(found), *sections])


def verdict_of(name: str) -> dict[str, Any] | None:
    path = RESULTS / name / "embedded" / VERDICT_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def overview(found: dict[str, dict[str, Any] | None]) -> str:
    rows = []
    for name, content in found.items():
        verdict = f"**{content['verdict']}**" if content else "not run"
        runs, cost = (str(content["runs"] or "–"), cost_in_words(content)) if content else ("–", "–")
        rows.append((f"[`{name}`](#{name})", EXPERIMENTS[name].title, verdict, runs, cost))
    return "\n".join(table(("experiment", "about", "verdict", "runs", "cost"), rows)) + "\n"


def section(name: str, experiment: Experiment, content: dict[str, Any] | None) -> str:
    lines = [f"## {name}", "", f"**Claim.** {experiment.claim}", "", f"**The paper.** {experiment.paper}", ""]
    if experiment.paper_table[0]:
        lines += [*table(*experiment.paper_table), ""]
    if content is None:
        return "\n".join([*lines, f"Not run yet: `steadydecay reproduce {name}`.", ""])
    lines += [f"**Here: {content['verdict']}.**", "", *criteria(content), ""]
    lines += [f"![{experiment.title}](../results/{name}/embedded/{FIGURE_NAME})", ""]
    lines += [*table(content["table"]["columns"], content["table"]["rows"]), ""]
    lines += [*notes(content)]
    if experiment.why_not:
        lines += [experiment.why_not, ""]
    lines += [f"`steadydecay reproduce {name}`: {made_of(experiment, content)}.", ""]
    return "\n".join(lines)


def criteria(content: dict[str, Any]) -> Iterator[str]:
    rows = []
    for quantity, one in content["numbers"].items():
        if isinstance(one, dict):
            low, high = (number(bound) for bound in one["interval"])
            words = {"reproduced": "holds", "not reproduced": "fails", "inconclusive": "open"}[one["verdict"]]
            rows.append((quantity, number(one["mean"]), f"{low} to {high}", range_of(one), words))
    return table(("quantity", "mean", "95 % interval", "holds if", ""), rows)


def notes(content: dict[str, Any]) -> Iterator[str]:
    for quantity, one in content["numbers"].items():
        if not isinstance(one, dict):
            yield f"- {quantity}: {number(one)}"
    yield ""


def made_of(experiment: Experiment, content: dict[str, Any]) -> str:
    parts = [f"{part.seeds} seeds of the {KINDS[part.kind]}" for part in experiment.parts if part.kind is not None]
    simulations = ["a simulation with several seeds"] if any(part.kind is None for part in experiment.parts) else []
    runs = [f"{content['runs']} runs"] if content["runs"] else []
    return ", ".join([*parts, *simulations, *runs, cost_in_words(content)])


def cost_in_words(content: dict[str, Any]) -> str:
    return f"{timedelta(seconds=content['cost_in_seconds'])} h"


def range_of(one: dict[str, Any]) -> str:
    low, high = one["range"]
    if low is None:
        return f"below {number(high)}"
    return f"above {number(low)}" if high is None else f"{number(low)} to {number(high)}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(escaped(column) for column in columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
