"""The weights of a run as one .safetensors file."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from steadydecay.cli import main
from steadydecay.recipes.checkpoint import CheckpointError, save
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.safetensors_export import export_weights


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the checkpoint of a model whose embedding is its output layer."""
    model = GPT(16, 1, 1, 4)
    save(tmp_path / "run" / "checkpoints", 7, {"model": model.state_dict(), "recipe": {"layers": 1}})
    return tmp_path / "run"


def test_the_file_holds_what_the_model_loads(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "weights.safetensors"
    main(["export", str(run), str(out)])
    assert capsys.readouterr().out == f"Wrote the weights of step 7 to {out}.\n"
    model = GPT(16, 1, 1, 4)
    model.load_state_dict(load_file(out))
    expected = torch.load(next((run / "checkpoints").iterdir()), weights_only=True)["model"]
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    with safe_open(out, "pt") as file:
        assert file.metadata() == {"format": "pt", "step": "7", "recipe": '{"layers": 1}'}


def test_what_cannot_be_exported_is_said_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=r"out is '.*weights\.pt'; it must end in \.safetensors"):
        export_weights(run, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"absent has no checkpoints; give the folder of a run"):
        export_weights(tmp_path / "absent", out)
    save(run / "checkpoints", 8, {"something": 1})
    with pytest.raises(CheckpointError, match=r"the checkpoint of step 8 in .*run has no model"):
        export_weights(run, out)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
