"""`steadydecay inspect` on real checkpoints: ours, transformers' and large ones."""

import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from inspected_peak import print_own_peak
from safetensors.torch import load_file, save_file

# Loaded now: once marimo has run in this process, transformers takes it for a notebook.
from transformers import Trainer

import steadydecay as sd
from forked import alone
from steadydecay.cli import main
from steadydecay.recipes.checkpoint import checkpoints

# The recipe of a run that settles within its 40 steps: a memory of 2 steps.
SETTLING = [
    "layers=1",
    "width=32",
    "heads=1",
    "length=16",
    "batch_size=4",
    "evaluation_batches=1",
    "decay_per_step=0.2",
]


@pytest.fixture(autouse=True)
def one_thread_and_own_folder(one_cpu_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A folder of a ScionC run under a cosine to 0."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--optimizer", "scionc", "--data", str(text), "--steps", "40", "--out", str(folder)]
    main(["train", "gpt", *SETTLING, "precision=float32", *options])
    return folder


def llama(name: str, **options: Any) -> Path:
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 64}
    transformers.utils.logging.disable_progress_bar()
    folder = Path(name)
    config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder, **options)
    return folder


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    main(["inspect", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    return json.loads(shown(capsys, *arguments, "--format", "json"))


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as left:
        main(["inspect", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert left.value.code == 2 and out == "" and len(err.strip().splitlines()) == 1, (out, err)
    return err


# Our own runs


def test_a_run_is_shown_at_the_peak_of_its_schedule(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, run)
    assert "5 weights" in text and "after 40 steps" in text
    assert "Scion hidden: lr 0.03 (reference_lr, the peak; 0 in the file), decay 0.2 per step (corrected)" in text
    assert "Scion output: lr 0.6 (reference_lr, the peak; 0 in the file), decay 0.2 per step (constant)" in text
    assert "lm_head.weight is embedding.weight" in text
    assert "The roles are guessed" not in text


def test_norms_are_those_of_the_weights_and_corrected_layers_are_near_their_prediction(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {one["name"]: one for one in as_json(capsys, run)["layers"]}
    state = torch.load(checkpoints(run / "checkpoints")[0].path, weights_only=True)["model"]
    assert {*state} - {*found} == {"lm_head.weight"}
    for name, layer in found.items():
        exact = state[name].double().numpy()
        assert layer["norm"] == pytest.approx(np.linalg.norm(exact), rel=1e-9)
        assert layer["rms"] == pytest.approx(np.sqrt((exact**2).mean()), rel=1e-9)
        sigmas = np.linalg.svd(exact.reshape(-1, *exact.shape[-2:]), compute_uv=False)[:, 0]
        assert layer["spectral_norms"] == pytest.approx(list(sigmas), rel=0.01)
        assert layer["ratio"] == pytest.approx(layer["norm"] / layer["predicted_norm"], rel=1e-12)
        if layer["role"] == "hidden":
            assert 0.5 < layer["ratio"] < 2


def test_options_that_say_what_is_stored_predict_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lr", "0.03", "--decay", "0.2", "--optimizer", "scion", "--output-lr", "0.6", "--momentum", "0.9"]
    stored, given = as_json(capsys, run), as_json(capsys, run, *options)
    for one, other in zip(stored["layers"], given["layers"], strict=True):
        assert one["predicted_norm"] == pytest.approx(other["predicted_norm"], rel=1e-12)
        assert one["role"] == other["role"]
    assert "Scion hidden: lr 0.03, decay 0.2 per step, momentum 0.9, spectral norm" in given["settings"][1]


def test_options_replace_what_is_stored(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = as_json(capsys, run, "--lr", "0.01", "--weight-decay", "0.5")["layers"]
    expected = math.sqrt(0.01**2 / (0.005 * (2 - 0.005)))
    assert [one["predicted_rms"] for one in layers] == pytest.approx([expected] * 5, rel=0.05)


def test_at_the_end_of_a_schedule_nothing_is_predicted_for_now(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, run, "--at", "now")
    assert "no prediction, the lr in the file is 0, where nothing moves" in text and "ratio" not in text


def test_a_file_that_is_inspected_is_not_changed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoints(run / "checkpoints")[0].path
    before = path.read_bytes()
    shown(capsys, path)
    error = mistake(capsys, path, "--out", path)
    assert "--out is" in error and "which is the file to inspect; give another file" in error
    assert path.read_bytes() == before


def test_a_weight_is_measured_in_the_matrices_that_its_group_names(capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.Linear(8, 12, bias=False)
    norm = {"name": "spectral", "split_sizes": (4, 8)}
    groups = sd.param_groups(model, lr=0.1, weight_decay=0.1, output=False, overrides={"weight": {"norm": norm}})
    torch.save({"model": model.state_dict(), "optimizer": sd.Scion(groups, 0.1).state_dict()}, "model.pt")
    expected = [float(torch.linalg.matrix_norm(part, 2)) for part in model.weight.detach().split([4, 8])]
    assert as_json(capsys, "model.pt")["layers"][0]["spectral_norms"] == pytest.approx(expected, rel=0.01)


def test_an_index_is_not_overwritten_either(capsys: pytest.CaptureFixture[str]) -> None:
    folder = llama("sharded", max_shard_size="20KB")
    index = folder / "model.safetensors.index.json"
    before = index.read_bytes()
    assert "which is the file to inspect" in mistake(capsys, folder, "--out", index)
    assert index.read_bytes() == before


# transformers


def test_a_model_of_transformers_is_listed_with_guessed_roles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = llama("model")
    text = shown(capsys, folder)
    assert "21 weights" in text and "For predictions, give --lr (the peak)" in text and "steady" not in text
    assert "The roles are guessed from names and shapes." in text
    layers = {one["name"]: one for one in as_json(capsys, folder)["layers"]}
    assert {one["role"] for one in layers.values()} == {"hidden", "output", "embedding", "vector"}
    assert (layers["lm_head.weight"]["role"], layers["model.norm.weight"]["role"]) == ("output", "vector")
    exact = load_file(folder / "model.safetensors")["model.layers.1.mlp.up_proj.weight"].double()
    found = layers["model.layers.1.mlp.up_proj.weight"]
    assert found["norm"] == pytest.approx(float(exact.norm()), rel=1e-9)
    assert found["spectral_norms"] == pytest.approx([float(torch.linalg.matrix_norm(exact, 2))], rel=0.01)


def test_shards_are_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = as_json(capsys, llama("whole"))
    folder = llama("sharded", max_shard_size="20KB")
    sharded = as_json(capsys, folder)
    assert len(sharded["files"]) > 2
    assert sharded["layers"] == whole["layers"]
    by_index = as_json(capsys, folder / "model.safetensors.index.json")
    assert by_index["layers"] == whole["layers"]
    assert re.search(r"^sharded/model.safetensors.index.json \(\d+ shards\): 21 weights", shown(capsys, folder))


def test_the_optimizer_of_a_trainer_is_read_beside_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(llama("model"))
    rows = [{"input_ids": torch.arange(8) + i, "labels": torch.arange(8) + i} for i in range(8)]
    options: dict[str, Any] = {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True}
    settings = transformers.TrainingArguments(
        "out", learning_rate=1e-3, weight_decay=0.1, report_to=[], disable_tqdm=True, **options
    )
    Trainer(model, settings, train_dataset=rows).train()
    capsys.readouterr()
    found = as_json(capsys, Path("out") / "checkpoint-2")
    assert found["steps"] == 2
    first, second = found["settings"]
    assert first.startswith("AdamW: lr 0.001 (initial_lr, the peak; 0.0005 in the file), decay 0.0001 per step")
    assert second == "AdamW: no prediction, no decay (5 weights)"
    expected = math.sqrt(0.001**2 / (1e-4 * (2 - 1e-4)))
    for layer in found["layers"]:
        assert layer["predicted_rms"] == (None if len(layer["shape"]) == 1 else pytest.approx(expected, rel=2e-3))
    now = as_json(capsys, Path("out") / "checkpoint-2", "--at", "now")
    assert now["layers"][0]["predicted_rms"] == pytest.approx(expected * math.sqrt(0.5), rel=2e-3)
    error = mistake(capsys, Path("out") / "checkpoint-2" / "training_args.bin")
    assert "contains transformers.training_args.TrainingArguments, but only tensors" in error
    assert "contains checkpoint-2, checkpoint-4, but it must contain one checkpoint" in mistake(capsys, Path("out"))


def test_a_damaged_optimizer_beside_a_model_is_told_and_the_norms_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = llama("model")
    (folder / "optimizer.pt").write_bytes(b"PK\x03\x04 damaged")
    text = shown(capsys, folder)
    assert "optimizer.pt is not a complete file of torch.save" in text and "lm_head" in text
    given = shown(capsys, folder, "--lr", "0.001", "--weight-decay", "0.1")
    assert "optimizer.pt" not in given and "ratio" in given


# Output


@pytest.mark.parametrize("width", ["80", "100"])
def test_the_output_fits_the_terminal(
    width: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = llama("model")
    monkeypatch.setenv("COLUMNS", width)
    text = shown(capsys, folder, "--lr", "0.001", "--weight-decay", "0.1")
    assert max(map(len, text.splitlines())) <= int(width) and "…" not in text


def test_in_a_pipe_each_weight_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = llama("model")
    monkeypatch.delenv("COLUMNS")
    lines = shown(capsys, folder, "--lr", "0.001", "--weight-decay", "0.1").splitlines()
    assert sum(line.startswith("model.layers.1.self_attn.q_proj ") for line in lines) == 1
    assert not any("\x1b" in line for line in lines)


def test_a_narrow_terminal_folds_names_and_keeps_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = llama("model")
    wide = shown(capsys, folder, "--lr", "0.001", "--weight-decay", "0.1")
    monkeypatch.setenv("COLUMNS", "40")
    narrow = shown(capsys, folder, "--lr", "0.001", "--weight-decay", "0.1")
    numbers = re.compile(r"\d\.\d\d+(?:e-\d+)?")
    assert sorted(numbers.findall(narrow)) == sorted(numbers.findall(wide))


def test_sorting_and_top_choose_the_rows(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = as_json(capsys, run)["layers"]
    largest = as_json(capsys, run, "--sort", "norm", "--top", "2")["layers"]
    assert [one["norm"] for one in largest] == sorted((one["norm"] for one in every), reverse=True)[:2]
    far = as_json(capsys, run, "--sort", "ratio")["layers"]
    distances = [abs(math.log(one["ratio"])) for one in far]
    assert distances == sorted(distances, reverse=True)
    assert "Showing 2 of 5 weights." in shown(capsys, run, "--top", "2")


def test_the_tolerance_decides_what_is_marked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strict = as_json(capsys, run, "--tolerance", "0")
    assert all(one["is_far"] for one in strict["layers"])
    assert "5 of 5 weights with a prediction differ from it by more than 0%." in strict["notes"]
    loose = as_json(capsys, run, "--tolerance", "0.99")["layers"]
    assert [one["is_far"] for one in loose] == [abs(one["ratio"] - 1) > 0.99 for one in loose]


def test_without_spectral_norms_they_are_left_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(one["spectral_norms"] == [] for one in as_json(capsys, run, "--no-spectral")["layers"])
    assert "σ max" not in shown(capsys, run, "--no-spectral")


def test_a_file_is_written_in_the_format_of_its_name(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, start in {
        "new/a.json": "{",
        "a.csv": "name,tied",
        "a.html": "<!doctype html>",
        "a.txt": str(run),
    }.items():
        assert shown(capsys, run, "--out", name) == ""
        assert Path(name).read_text(encoding="utf-8").startswith(start)
    assert shown(capsys, run, "--out", "b.json", "--format", "csv") == ""
    assert Path("b.json").read_text(encoding="utf-8") == shown(capsys, run, "--format", "csv")
    assert "\nblocks.0.attention.projection " in Path("a.txt").read_text(encoding="utf-8")


def test_weights_that_are_not_finite_are_marked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = torch.ones(4, 4)
    broken[0, 0] = math.nan
    save_file({"a.weight": torch.ones(4, 4), "b.weight": broken}, "model.safetensors")
    text = shown(capsys, "model.safetensors", "--sort", "norm")
    rows = [line for line in text.splitlines() if line.startswith(("a ", "b "))]
    assert rows[0].startswith("b ") and rows[0].rstrip().endswith("!") and not rows[1].rstrip().endswith("!")
    assert "b.weight is not finite: 1 of 16 entries are infinite or NaN." in text


# Other files than a bare model


def saved_with_buffers(key: str) -> dict[str, Any]:
    """A network with a mask, a cache and a kernel; its optimizer under a key of its own; a configuration in its way."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Linear(8, 4))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1)
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    buffers = {
        "attn.bias": torch.ones(1, 1, 8, 8).tril(),
        "attn.future": torch.zeros(8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), -math.inf),
        "rotary_emb.cos_cached": torch.ones(8, 6),
        "blur.kernel": torch.ones(4, 4),
    }
    return {"model": {"width": 8}, "net": model.state_dict() | buffers, key: optimizer.state_dict()}


@pytest.mark.parametrize("key", ["opt_g", "optimizer_state", "solver"])
@pytest.mark.parametrize("is_old", [False, True])
def test_weights_have_predictions_and_buffers_are_apart(
    key: str, is_old: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(saved_with_buffers(key), "model.pth", _use_new_zipfile_serialization=not is_old)
    found = as_json(capsys, "model.pth")
    assert [one["name"] for one in found["layers"]] == ["net.0.weight", "net.0.bias", "net.1.weight", "net.1.bias"]
    expected = math.sqrt(1e-6 / (1e-4 * (2 - 1e-4)))
    assert [one["predicted_rms"] for one in found["layers"]] == pytest.approx([expected] * 4, rel=2e-3)
    names = [one["name"] for one in found["buffers"]]
    assert names == ["net.attn.bias", "net.rotary_emb.cos_cached", "net.blur.kernel", "net.attn.future"]
    text = shown(capsys, "model.pth", "--lr", "0.001", "--weight-decay", "0.1")
    table, _, notes = text.partition("Buffers and caches are not weights")
    assert "4 weights" in table and "not finite" not in text
    assert not re.search("attn|rotary|blur", table) and len(re.findall("attn|rotary|blur", notes)) == 4


def test_what_an_optimizer_names_is_a_weight_whatever_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.Module()
    model.register_parameter("freqs", torch.nn.Parameter(torch.ones(4, 4)))
    model.register_parameter("window", torch.nn.Parameter(torch.ones(4, 4)))
    groups = sd.param_groups(model, "adamw", lr=0.1, weight_decay=0.1, output=False)
    torch.save({"model": model.state_dict(), "optimizer": torch.optim.AdamW(groups).state_dict()}, "named.pt")
    found = as_json(capsys, "named.pt")
    assert [one["name"] for one in found["layers"]] == ["freqs", "window"] and found["buffers"] == []
    torch.save(model.state_dict(), "bare.pt")
    assert "bare.pt contains no weight, only buffers and caches (freqs, window); give a model's file" in mistake(
        capsys, "bare.pt"
    )


# Mistakes


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


FILES: dict[str, tuple[bytes, str]] = {
    "empty.pt": (b"", "is empty (0 bytes); give a .safetensors file or one from torch.save"),
    "picture.png": (b"\x89PNG\r\n\x1a\n0000", "is neither safetensors nor a file of torch.save"),
    "text.txt": (b"hello\n", "is neither safetensors nor a file of torch.save"),
    "cut.safetensors": (struct.pack("<Q", 2**50) + b"{", "is not a complete safetensors file"),
    "config.json": (b"{}", "is not an index of shards"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_file_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = FILES[name]
    Path(name).write_bytes(content)
    assert f"steadydecay: {name} {message}" in mistake(capsys, name)


def test_a_missing_path_a_folder_and_a_hostile_file_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent.pt does not exist" in mistake(capsys, "absent.pt")
    assert "it must contain one checkpoint" in mistake(capsys, ".")
    torch.save({"model": {"a": torch.ones(2)}, "x": Hostile()}, "hostile.pt")
    assert re.search(r"hostile\.pt contains \w+\.mkdir, but only tensors", mistake(capsys, "hostile.pt"))
    assert not Path("executed").exists()


MISTAKES = {
    "--lr 0.1": "options are lr=0.1; give at least --lr and one of --weight-decay and --decay",
    "--lr 0.1 --decay 2": "--decay is 2.0; it must be in [0, 1)",
    "--tolerance 1": "--tolerance is 1.0; it must be in [0, 1): 0.2 is 20 %",
    "--tolerance nan": "--tolerance is nan; it must be in [0, 1)",
    "--top 0": "--top is 0; it must be in [1, inf)",
    "--lr 0.1 --decay 0.1 --at now": "--at is 'now', which selects a stored learning rate",
}


@pytest.mark.parametrize("options", MISTAKES)
def test_a_wrong_option_is_named_before_anything_is_read(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MISTAKES[options] in mistake(capsys, "absent.pt", *options.split())


# Size


def peak_megabytes(path: str) -> int:
    """Largest resident memory of a process that inspects a file."""
    return int(alone(print_own_peak, str(Path(path).resolve())).split()[-1])


def test_a_file_takes_a_part_of_its_size_in_memory() -> None:
    # docs/inspect.md has the numbers of 1 GB.
    weights = {f"layers.{i}.up.weight": torch.full((32768, 64), 0.5) for i in range(20)}
    save_file({"a.weight": torch.ones(4, 4)}, "small.safetensors")
    save_file(weights, "large.safetensors")
    torch.save({"model": weights}, "large.pt")
    least = peak_megabytes("small.safetensors")
    for path in ("large.safetensors", "large.pt"):
        assert Path(path).stat().st_size > 160 * 2**20
        # What stays mapped, a weight of 8 MB beside it, and pieces in float64. The kernel may map more than was asked
        # for, which changes from run to run; a copy of the file would be there each time.
        assert any(peak_megabytes(path) - least < 120 for _ in range(3))
        Path(path).unlink()
