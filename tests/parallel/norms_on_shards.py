"""Cases of verbs_on_shards.py: norms of groups whose weights are cut over ranks."""

from typing import Any

import torch
from layouts import give_gradients, laid_out, named_groups, whole_model
from torch.distributed.tensor.debug import CommDebugMode

from steadydecay.parallel.total_norms import norms_by_group, total_norm


def of_layout(layout: str, meshes: Any) -> dict[str, Any]:
    """The farthest of all norms from that of whole weights, and the collectives that all groups together take."""
    cut, alone = laid_out(layout, meshes), whole_model()
    differences, collectives = [], []
    for model in (cut, alone):
        give_gradients(model, 0, without="other.weight")
    for measure in ("weight_norm", "gradient_norm"):
        with CommDebugMode() as counted:
            found = norms_by_group(named_groups(cut), measure)
        collectives.append(counted.get_total_counts())
        expected = norms_by_group(named_groups(alone), measure)
        assert list(found) == list(expected)
        differences += [float(abs(found[name] / norm - 1)) for name, norm in expected.items()]
    whole = total_norm(alone.parameters())
    differences.append(float(abs(total_norm(cut.parameters()) / whole - 1)))
    assert whole.dtype == torch.float64
    return {"difference": max(differences), "collectives": collectives}
