"""A slot on a Ray cluster after its end."""

from pathlib import Path

import pytest
import ray

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.sweeps.ray_slot import RaySlot, TaskDiedError


def test_a_slot_that_has_ended_starts_no_cluster_of_its_own(tmp_path: Path) -> None:
    slot = RaySlot({"CPU": 1, "GPU": 0}, tmp_path)
    slot.end()
    with pytest.raises(TaskDiedError, match="the sweep has ended"):
        slot.train(gpt_recipe("mini", "scionc", {}), tmp_path / "trial")
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == []
