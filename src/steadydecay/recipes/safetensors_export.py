"""The weights of a run as one .safetensors file, which other libraries read without this one."""

import json
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from steadydecay.recipes.checkpoint import CHECKPOINT_FOLDER, CheckpointError, load_latest
from steadydecay.run_log.atomic_write import replace_file

SUFFIX = ".safetensors"


def export_weights(folder: Path, out: Path) -> int:
    """Write the weights of a run's newest whole checkpoint; returns its step.

    A tied weight is written under each of its names, so that `load_state_dict` of the model finds all of them. Step and
    recipe are in the file's metadata.

    Args:
        folder: of the run; one that is being trained in may be read, too.
        out: the .safetensors file; an older one is replaced. Its folder exists.

    Raises:
        ValueError: no run there with a finished checkpoint, or `out` has another suffix.
        CheckpointError: no checkpoint is whole, or the newest one is none of a run.
        OSError: the file cannot be written.
    """
    if out.suffix != SUFFIX:
        raise ValueError(f"out is {str(out)!r}; legal is a name that ends in {SUFFIX}")
    found = load_latest(folder / CHECKPOINT_FOLDER)
    if found is None:
        raise ValueError(f"{folder} has no checkpoints; legal is the folder of a run (--out of steadydecay train)")
    step, state = found
    weights = state.get("model")
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"the checkpoint of step {step} in {folder} holds no model; give the folder of a run")
    # Copies, for the format has no tensors in common memory.
    copies = {name: weight.detach().clone().contiguous() for name, weight in weights.items()}
    metadata = {"format": "pt", "step": str(step), "recipe": json.dumps(state.get("recipe"), default=str)}
    replace_file(out, [save(copies, metadata)])
    return step
