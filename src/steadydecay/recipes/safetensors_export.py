"""Export the weights of a run into one .safetensors file, which other libraries can read without this one."""

import json
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from steadydecay.recipes.checkpoint import CHECKPOINT_FOLDER, CheckpointError, load_latest
from steadydecay.run_log.atomic_write import replace_file

SUFFIX = ".safetensors"


def export_weights(folder: Path, out: Path) -> int:
    """Write the weights of a run's newest whole checkpoint and return its step.

    A tied weight is written under each of its names, so that the model's `load_state_dict` finds all of them. The
    file's metadata contain the step and the recipe.

    Args:
        folder: The folder of the run, which may still be training.
        out: The .safetensors file. An older file is replaced. Its folder must exist.

    Raises:
        ValueError: The folder has no run with a finished checkpoint, or `out` has another suffix.
        CheckpointError: No checkpoint is whole, or the newest one does not belong to a run.
        OSError: The file cannot be written.
    """
    if out.suffix != SUFFIX:
        raise ValueError(f"out is {str(out)!r}; it must end in {SUFFIX}")
    found = load_latest(folder / CHECKPOINT_FOLDER)
    if found is None:
        raise ValueError(f"{folder} has no checkpoints; give the folder of a run (--out of steadydecay train)")
    step, state = found
    weights = state.get("model")
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"the checkpoint of step {step} in {folder} has no model; give the folder of a run")
    # These are copies, because the format does not support tensors that share memory.
    copies = {name: weight.detach().clone().contiguous() for name, weight in weights.items()}
    metadata = {"format": "pt", "step": str(step), "recipe": json.dumps(state.get("recipe"), default=str)}
    replace_file(out, [save(copies, metadata)])
    return step
