"""What a release holds: the wheel is the package and nothing else, and the sdist is what a packager tests."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
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
