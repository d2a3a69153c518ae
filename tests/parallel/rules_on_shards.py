"""Cases of verbs_on_shards.py: the rivals of corrected weight decay on weights that are cut over ranks."""

from functools import cache
from typing import Any

import torch
from layouts import CountedReductions, Layers, give_gradients, laid_out, largest_difference, named_groups, whole_model

import steadydecay as sd

STEPS = 3


def trained(model: Layers, rule: str, without_on_this_rank: str = "") -> tuple[Any, list[int]]:
    """The optimizer after a few steps, and the collectives of each."""
    optimizer = torch.optim.AdamW(named_groups(model), lr=0.1, weight_decay=0.5, foreach=False)
    sd.correct_weight_decay(optimizer, rule, where=lambda group: True)
    counts = []
    for step in range(STEPS):
        give_gradients(model, step, without="other.weight" if step == 1 else without_on_this_rank)
        with CountedReductions() as counted:
            optimizer.step()
        counts.append(counted.count)
    return optimizer, counts


@cache
def expected_of(rule: str) -> tuple[Layers, torch.optim.Optimizer]:
    """One process alone with whole weights."""
    model = whole_model()
    return model, trained(model, rule)[0]


def of_layout(layout: str, rule: str, meshes: Any) -> dict[str, Any]:
    (alone, expected), cut = expected_of(rule), laid_out(layout, meshes)
    optimizer, counts = trained(cut, rule)
    groups = zip(optimizer.param_groups, expected.param_groups, strict=True)
    pairs = [(one.get("hyperball_norms"), other.get("hyperball_norms")) for one, other in groups]
    return {"difference": largest_difference(cut, alone), "collectives": counts, "norms": pairs}
