"""`steadydecay compare`, the main command."""

from dataclasses import dataclass, field
from pathlib import Path

from steadydecay.commands.dry_run import DryRun
from steadydecay.commands.given_path import GivenPath
from steadydecay.commands.what import What
from steadydecay.experiments.compare import compare, run_folder
from steadydecay.recipes.recipe import Recipe
from steadydecay.report.picture import write_picture
from steadydecay.report.report_page import write_report
from steadydecay.report.summary_table import summary_table, wide_enough


@dataclass
class Compare(DryRun, What):
    """Train the same model under several optimizers and compare them.

    The command prints a table and writes summary.json, report.html and picture.png. An interrupted run resumes from its
    last checkpoint when you run the same command again.
    """

    optimizers: str | None = None
    """The optimizers to compare, separated by commas. The default is adamw,scion,scionc, and for vit
    adamw,adamc,scion,scionc,scionc_cosine."""
    seed: list[int] = field(default_factory=lambda: [0])
    """One or more seeds, such as --seed 0 1 2. Every optimizer is trained with each."""
    out: GivenPath = Path("runs/compare")
    """The folder to which everything is written."""

    def run(self) -> None:
        self.require_dry()
        names = self.kind.COMPARED if self.optimizers is None else self.optimizers.split(",")
        recipes = [self.recipe_of(name, seed) for name in names for seed in self.seed]
        if self.dry_run:
            self.print_comparison(recipes, [run_folder(self.out, recipe) for recipe in recipes])
        else:
            self._compare(recipes)

    def _compare(self, recipes: list[Recipe]) -> None:
        summaries = compare(recipes, self.out, restart=self.restart)
        write_picture(self.out, self.out / "picture.png")
        report = write_report(self.out, self.out / "report.html")
        table = summary_table(summaries)
        console = wide_enough(table)
        console.print(table)
        console.print(f"report: {report}", soft_wrap=True, highlight=False)
