"""Run on four ranks: what the verbs do to weights that are cut over them, beside one process alone."""

import gc
import json
from pathlib import Path
from typing import Any

import adams_on_shards
import faults_on_shards
import groups_on_shards
import norms_on_shards
import rules_on_shards
import torch.distributed as dist
import watch_on_shards
from layouts import FEW_LAYOUTS, LAYOUTS, WITH_REPLICAS, made_meshes, of_all_ranks


def main(out: Path) -> None:
    dist.init_process_group("gloo")
    meshes = made_meshes()
    found: dict[str, Any] = {
        "rules": {
            rule: {layout: rules_on_shards.of_layout(layout, rule, meshes) for layout in LAYOUTS}
            for rule in ("hyperball", "cautious")
        },
        "adams": {
            name: {layout: adams_on_shards.of_layout(layout, name, meshes) for layout in LAYOUTS}
            for name in adams_on_shards.BUILDS
        },
        "lacking adams": {layout: adams_on_shards.of_lacking(layout, meshes) for layout in WITH_REPLICAS},
        "low precision": adams_on_shards.of_low_precision(meshes),
        "watch": {layout: watch_on_shards.of_layout(layout, meshes) for layout in LAYOUTS}
        | {"replicas": watch_on_shards.of_replicas()},
        "norms": {layout: norms_on_shards.of_layout(layout, meshes) for layout in LAYOUTS},
        "groups": groups_on_shards.of_wrappings(meshes),
        "filled": {layout: groups_on_shards.filled(layout, meshes) for layout in LAYOUTS},
        "generators": groups_on_shards.generators_after(meshes),
        "refused": groups_on_shards.refused(meshes),
        "skipping": {
            skip: {layout: faults_on_shards.skipping(layout, skip, meshes) for layout in LAYOUTS}
            for skip in ("tensor", "step")
        },
        "fault": {layout: faults_on_shards.first_fault(layout, meshes) for layout in FEW_LAYOUTS},
        "ddp": faults_on_shards.under_ddp(),
        "lacking": {
            rule: {layout: faults_on_shards.lacking(layout, rule, meshes) for layout in FEW_LAYOUTS}
            for rule in ("hyperball", "cautious")
        },
    }
    everywhere = of_all_ranks(found)
    if dist.get_rank() == 0:
        out.write_text(json.dumps(everywhere))
    # FSDP's reference cycles may outlive the process group, which then aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
