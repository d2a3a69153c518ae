"""Names of trials, and how a log says that its run ended."""

import json
from pathlib import Path

import pytest

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.vit.recipe import vit_recipe
from steadydecay.run_log.record import LOG_NAME
from steadydecay.trials.trial_folder import Ending, ending_of, trial_name

GPT = gpt_recipe("mini", "scionc", {"steps": 20})


def test_names_tell_kind_optimizer_and_seed_and_differ_in_any_field() -> None:
    others = [gpt_recipe("mini", "scionc", given) for given in ({"steps": 21}, {"steps": 20, "lr": 0.031}, {"seed": 1})]
    names = [trial_name(recipe) for recipe in (GPT, *others, vit_recipe("digits", "adamw", {"seed": 3}))]
    assert len(set(names)) == len(names)
    assert names[0].startswith("gpt-scionc-seed0-") and names[-1].startswith("vit-adamw-seed3-")
    assert trial_name(gpt_recipe("mini", "scionc", {"steps": 20})) == names[0]


CONFIGURATION = {"kind": "configuration", "optimizer": "scionc"}
LOGS = {
    "finished": ([CONFIGURATION, {"kind": "validation", "step": 20, "loss": 1.0}], Ending("finished")),
    "stopped on the way": ([CONFIGURATION, {"kind": "validation", "step": 18, "loss": 1.0}], None),
    "its last step without a validation": ([CONFIGURATION, {"kind": "step", "step": 20, "loss": 1.0}], None),
    "diverged": (
        [CONFIGURATION, {"kind": "failure", "step": 3, "message": "loss nan"}],
        Ending("diverged", "loss nan"),
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_log_says_how_a_run_ended(name: str, tmp_path: Path) -> None:
    records, expected = LOGS[name]
    (tmp_path / LOG_NAME).write_text("".join(json.dumps(record) + "\n" for record in records))
    assert ending_of(GPT, tmp_path) == expected


def test_a_folder_without_a_log_has_no_ending(tmp_path: Path) -> None:
    assert ending_of(GPT, tmp_path / "missing") is None
