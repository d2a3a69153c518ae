"""`steadydecay forecast`: tables, files and JSON from a plan and from a real run; one line for each mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from steadydecay.cli import main

PLAN = ["--shape", "64x64:3", "--shape", "256x64:output", "--lr", "0.03", "--decay-per-step", "0.01", "--steps", "600"]
TINY = ["layers=1", "width=32", "heads=1", "length=16", "batch_size=4", "evaluation_batches=2", "precision=float32"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of 30 steps."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["--optimizers", "scionc", "--data", str(text), "--steps", "30", "--out", str(folder)]
    main(["compare", "gpt", *TINY, *options])
    return folder / "scionc-seed0"


def record_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    main(["forecast", *arguments, "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(["forecast", *arguments])
    out, err = capsys.readouterr()
    assert left.value.code == 2
    assert out == "" and "Traceback" not in err
    return err


# The jobs


def test_shapes_are_forecast_in_a_table_with_a_note_on_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    main(["forecast", *PLAN])
    out = capsys.readouterr().out
    assert all(word in out for word in ("64x64:3", "hidden spectral 64×64 ×3", "output sign 256×64"))
    assert (out.count(" constant "), out.count(" corrected ")) == (2, 1)
    assert "The weights at the start are those of steadydecay.init_" in out
    assert not Path("runs").exists()


def test_json_has_the_same_forecast_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    hidden, output = record_of(PLAN, capsys)["layers"]
    assert (hidden["count"], hidden["initial_norm"], output["role"]) == (3, pytest.approx(8.0), "output")
    constant, corrected = hidden["decay"]["constant"]["norm"], hidden["decay"]["corrected"]["norm"]
    middle = len(constant) // 2
    assert constant[-1] < 0.8 * constant[middle]
    assert corrected[-1] == pytest.approx(corrected[middle], rel=0.03)


def test_a_wanted_rms_is_answered_with_a_decay_that_gives_it(capsys: pytest.CaptureFixture[str]) -> None:
    layers = record_of([*PLAN, "--wanted-rms", "0.08"], capsys)["layers"]
    suggested = layers[0]["suggestion"]["weight_decay"]
    again = ["--shape", "64x64", "--lr", "0.03", "--weight-decay", str(suggested), "--schedule", "constant"]
    (layer,) = record_of([*again, "--steps", "2000"], capsys)["layers"]
    assert layer["decay"]["constant"]["final_rms"] == pytest.approx(0.08, rel=1e-3)
    main(["forecast", *PLAN, "--wanted-rms", "0.08"])
    assert f"{suggested:.4g}" in capsys.readouterr().out


WISH = ["--shape", "64x64", "--lr", "0.03", "--steps", "600", "--wanted-rms", "0.08"]


def test_a_wanted_rms_alone_is_enough_for_the_end_and_for_the_steady_state(capsys: pytest.CaptureFixture[str]) -> None:
    (layer,) = record_of(WISH, capsys)["layers"]
    for rule, suggested in layer["suggestion_at_end"].items():
        assert layer["decay"][rule]["final_rms"] == pytest.approx(0.08, rel=1e-6), "shown as it is suggested"
        again = ["--shape", "64x64", "--lr", "0.03", "--steps", "600", "--weight-decay", str(suggested["weight_decay"])]
        (ended,) = record_of(again, capsys)["layers"]
        assert ended["decay"][rule]["final_rms"] == pytest.approx(0.08, rel=1e-6)
    assert layer["suggestion_at_end"]["constant"]["decay"] < layer["suggestion"]["decay"]
    main(["forecast", *WISH])
    out = " ".join(capsys.readouterr().out.split())
    assert all(f"0.08 {where} " in out for where in ("steady", "end, constant", "end, corrected"))
    assert "Each rule is shown with the decay that ends the run at an RMS of 0.08." in out


@pytest.mark.parametrize("optimizer", ["scion", "adamw", "lion", "muon"])
def test_a_wanted_rms_suggests_nothing_for_gains(optimizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    gains = ["--shape", "64", "--shape", "8x8:vector", "--optimizer", optimizer]
    layers = {layer["names"][0]: layer for layer in record_of([*WISH, *gains], capsys)["layers"]}
    for name in ("64", "8x8:vector"):
        assert layers[name]["suggestion"] is None and layers[name]["suggestion_at_end"] == {}
    assert layers["64x64"]["suggestion_at_end"]["constant"] is not None


def test_an_rms_that_no_decay_gives_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    main(["forecast", "--shape", "8x8", "--lr", "0.03", "--steps", "50", "--wanted-rms", "9"])
    said = "8x8: No constant or corrected decay leads to an RMS of 9, because even without decay it ends at only "
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b/c.SVG", b"<?xml"), ("d.pdf", b"%PDF")])
def test_the_suffix_of_a_figure_says_what_it_is(name: str, start: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    main(["forecast", *WISH, "--figure", name])
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {name}"
    assert Path(name).read_bytes().startswith(start) and not Path("runs").exists()


@pytest.mark.parametrize("name", ["a.gif", "figure", "a.png.txt"])
def test_a_figure_of_another_kind_is_refused_before_anything_is_done(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"figure is '{name}'; its name must end in one of .png, .svg, .pdf" in mistake(
        [*WISH, "--html", "--figure", name], capsys
    )
    assert list(Path().iterdir()) == []


def test_other_optimizers_and_a_start_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shape", "64x64", "--lr", "0.01", "--weight-decay", "0.1", "--steps", "100"]
    for optimizer in ("adamw", "lion", "muon"):
        (layer,) = record_of([*options, "--optimizer", optimizer, "--init-rms", "0.02"], capsys)["layers"]
        assert layer["initial_norm"] == pytest.approx(0.02 * 64)
        assert layer["norm"] == (None if optimizer != "muon" else {"name": "spectral", "scale": "max"})


def test_a_transformers_model_is_forecast_by_its_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 64, "n_positions": 16}
    Path("config.json").write_text(json.dumps(tiny))
    options = ["--lr", "0.02", "--output-lr", "0.5", "--decay-per-step", "0.01", "--steps", "50"]
    layers = record_of(["--model", "config.json", *options], capsys)["layers"]
    by_name = {layer["names"][0]: layer for layer in layers}
    assert by_name["transformer.wte.weight"]["lr"] == 0.5
    assert by_name["transformer.h.0.attn.c_attn.weight"]["norm"]["split_sizes"] == [32, 32, 32]
    assert by_name["transformer.h.0.attn.c_attn.weight"]["count"] == 2


def test_a_run_stands_beside_what_it_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = record_of([str(run)], capsys)["layers"]
    assert {layer["role"] for layer in layers} == {"hidden", "output"}
    for layer in layers:
        measured = layer["measured"]
        assert measured["at_step"][-1] == 30
        assert "corrected" in layer["decay"] or layer["role"] == "output"
    qkv = next(layer for layer in layers if "qkv" in layer["names"][0])
    # Thirty steps from a known start: the forecast must be near, whatever the gradients are.
    assert qkv["decay"]["corrected"]["norm"][-1] == pytest.approx(qkv["measured"]["norm"][-1], rel=0.3)
    main(["forecast", str(run)])
    out = capsys.readouterr().out
    assert out.count("measured") == len(layers)
    assert "The weights at the start are those of the model with seed 0." in out


def test_figures_are_written_where_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["forecast", str(run), "--html", "--png", "--out", "here/below"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["written: here/below/forecast.html", "written: here/below/forecast.png"]
    page = Path("here/below/forecast.html").read_text(encoding="utf-8")
    assert "blocks.*.mlp.up.weight" in page and '"name":"measured"' in page
    assert Path("here/below/forecast.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("runs").exists()


def test_a_run_too_short_for_its_steady_state_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shape", "8x8", "--lr", "0.1", "--decay-per-step", "0.001", "--schedule", "constant"]
    main(["forecast", *options, "--steps", "500"])
    assert "1 time constants 1/(2η) long, and ends before its steady state" in capsys.readouterr().out
    main(["forecast", *options, "--steps", "5000"])
    assert "time constants" not in capsys.readouterr().out


def test_a_warm_up_delays_the_norm(capsys: pytest.CaptureFixture[str]) -> None:
    norms = [
        record_of([*PLAN, "--warmup", warmup], capsys)["layers"][0]["decay"]["constant"]["norm"][100]
        for warmup in ("0", "300")
    ]
    assert abs(norms[1] - 8) < abs(norms[0] - 8)


def test_one_step_is_a_run() -> None:
    main(["forecast", "--shape", "8x8", "--lr", "0.1", "--weight-decay", "0.1", "--steps", "1", "--html", "--png"])
    assert {path.name for path in Path("runs/forecast").iterdir()} == {"forecast.html", "forecast.png"}


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--decay-per-step", "1"], r"decay_per_step is 1.0; it must be in [0, 1)"),
        (["--decay-per-step", "nan"], "decay_per_step is nan; it must be in [0, 1)"),
        (["--lr", "-0.1"], "lr is -0.1; it must be in (0, inf)"),
        (["--lr", "nan"], "lr is nan; it must be in (0, inf)"),
        (["--output-lr", "-1"], "output_lr is -1.0; it must be"),
        (["--momentum", "1"], "momentum is 1.0; it must be in [0, 1)"),
        (["--momentum", "nan"], "momentum is nan; it must be"),
        (["--beta2", "2"], "beta2 is 2.0; it must be in [0, 1)"),
        (["--steps", "0"], "steps is 0; it must be in [1, "),
        (["--warmup", "600"], "warmup is 600; it must be in [0, 600)"),
        (["--schedule", "cosin"], "shape is 'cosin'; it must be one of 'cosine'"),
        (["--optimizer", "scoin"], "optimizer is 'scoin'; did you mean 'scion'"),
        (["--optimizer", "sgdw"], "optimizer is 'sgdw', whose updates are as large as the gradients"),
        (["--weight-decay", "0.1"], "weight_decay=0.1 and decay_per_step=0.01 are given; give exactly one of"),
        (["--decay-per-step", "0.1", "--wanted-rms", "-1"], "wanted_rms is -1.0; it must be in (0, inf)"),
        (["--wanted-rms", "0"], "wanted_rms is 0.0; it must be in (0, inf)"),
        (["--wanted-rms", "nan"], "wanted_rms is nan"),
        (["--init-rms", "-1"], "init_rms is -1.0; it must be in [0, inf)"),
        (["--shape", "64x"], "shape is '64x'; it must be"),
        (["--shape", "64x64:nuclear"], "'nuclear' is not a role, norm or count"),
        (["--model", "gpt2"], "shape is ['64x64:3', '256x64:output'] and model is 'gpt2'; give exactly one of them"),
        (["absent"], "lr is given together with folder 'absent', whose log already says it; leave one out"),
        (["--nesterov", "--optimizer", "adamw"], "nesterov is True for 'adamw'; it must be False"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_argument(
    changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = PLAN
    if changes[0] in PLAN and changes[0] != "--shape":
        position = PLAN.index(changes[0])
        kept = PLAN[:position] + PLAN[position + 2 :]
    err = mistake([*kept, *changes], capsys)
    assert err.startswith("steadydecay: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "lr is missing; give --lr, --steps and a decay, or the folder of a run"),
        (["--lr", "0.1"], "steps is missing; give"),
        (
            ["--lr", "0.1", "--steps", "5", "--decay-per-step", "0"],
            "shape is [] and model is None; give exactly one of",
        ),
        (["--lr", "0.1", "--steps", "5", "--shape", "8x8"], "no decay is given; give exactly one of weight_decay"),
        (
            ["--lr", "1", "--steps", "5", "--shape", "8x8", "--steady-norm-sq", "0.5"],
            "steady_norm_sq is 0.5; it",
        ),
        (
            ["--lr", "1", "--steps", "5", "--weight-decay", "0", "--model", "lama"],
            "model is 'lama', which is not a configuration",
        ),
        (["absent"], "folder is 'absent', which is not a folder; give"),
        (["absent", "--nesterov"], "nesterov is given together with folder 'absent'"),
        (["absent", "--shape", "4x4"], "shape is given together with folder 'absent'"),
        (["absent", "--init-rms", "0"], "init_rms is given together with folder 'absent'"),
        (["empty"], "folder is 'empty', which contains no run.jsonl; give"),
        (["foreign"], "folder is 'foreign', whose log is not that of a steadydecay recipe: it lacks size"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("foreign").mkdir()
    Path("foreign/run.jsonl").write_text("not ours\n")
    err = mistake(arguments, capsys)
    assert err.startswith("steadydecay: ") and err.count("\n") == 1
    assert message in err


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert "file" in mistake([*PLAN, "--png", "--out", "file/below"], capsys)
    assert "file" in mistake([*PLAN, "--html", "--out", "file"], capsys)


def test_the_installed_command_forecasts_and_says_nothing_else() -> None:
    command = [Path(sys.executable).with_name("steadydecay"), "forecast", *PLAN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "corrected" in done.stdout
