"""What a release holds: the wheel is the package and nothing else, and the sdist is what a packager tests.

`make test-wheel` installs the wheel into empty environments and uses it there, which takes too long for these tests.
"""

import ast
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
# Where a package on the index has another name than the module.
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
AT_THE_TOP_OF_AN_SDIST = {
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "PKG-INFO",
    "README.md",
    "SECURITY.md",
    "benchmarks",
    "docs",
    "examples",
    "gpu_tests",
    "pyproject.toml",
    "requirements.lock",
    "results",
    "src",
    "tests",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    files = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files
    assert {"steadydecay/py.typed", "steadydecay/report/page.css", "steadydecay/report/page.html"} <= files


def test_the_wheel_has_its_licence_its_command_and_torch_as_its_one_large_dependency(wheel: zipfile.ZipFile) -> None:
    info = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert info.keys() == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert wheel.read(info["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert "steadydecay = steadydecay.cli:main" in wheel.read(info["entry_points.txt"]).decode()
    metadata = message_from_string(wheel.read(info["METADATA"]).decode())
    needed = {line.split(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert needed == {"torch", "numpy"}
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_sdist_holds_what_the_tests_read_and_no_stray_file(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = [Path(name).parts[1:] for name in sdist.getnames()]
    assert {parts[0] for parts in names} == AT_THE_TOP_OF_AN_SDIST
    assert not [parts for parts in names if "__pycache__" in parts or parts[-1].endswith((".pyc", ".bin", ".pt"))]


def test_changelog_and_citation_say_the_version_that_is_built(built: Path) -> None:
    version = next(built.glob("*.whl")).name.split("-")[1]
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def example_environments() -> dict[str, str]:
    """From each example to the extras under which `make test-wheel` runs it."""
    uses = runpy.run_path(str(ROOT / "benchmarks/installed_wheel.py"))["uses"]()
    commands = {command: extras for extras, commands in uses.items() for command in commands}
    return {Path(command.split()[1]).name: extras for command, extras in commands.items() if "examples/" in command}


def test_an_example_names_the_extras_of_all_that_it_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environments = example_environments()
    assert {"plain_pytorch.py", "own_recipe.py"} <= environments.keys()
    for name, extras in environments.items():
        lines = [line for extra in filter(None, extras.split(",")) for line in project["optional-dependencies"][extra]]
        installed = {Requirement(line).name for line in (*project["dependencies"], *lines)} | {"steadydecay"}
        for module in imported(ROOT / "examples" / name) - {"tiny_transformer"} - sys.stdlib_module_names:
            assert DISTRIBUTIONS.get(module, module) in installed, f"{name} imports {module}"


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.split(".")[0]
        for name in plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    }


def test_the_first_steps_that_the_wheel_is_tried_with_run() -> None:
    source = runpy.run_path(str(ROOT / "benchmarks/installed_wheel.py"))["first_steps"]()
    assert "sd.correct_weight_decay(optimizer)" in source
    exec(source, {})
