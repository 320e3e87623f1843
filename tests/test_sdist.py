"""The source distribution is complete: it has every file of the checkout, and its tests pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOLDERS = ("benchmarks", "djoauth2_twisted", "docs", "examples", "templates", "tests", "twisted")
IGNORED = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")

BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_sdist(sys.argv[1]))
"""


def run(*arguments: str, folder: Path) -> str:
    """The output of a Python program that succeeds in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, without what tools have left in it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=IGNORED)
    for path in ROOT.iterdir():
        if path.is_file() and (path.suffix in {".md", ".py", ".toml", ".in"} or path.name == "LICENSE"):
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the checkout, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    shutil.copytree(checkout, source)
    run("-W", "ignore", "-c", BUILD, str(folder), folder=source)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_it_has_every_file_of_the_checkout(checkout: Path, unpacked: Path) -> None:
    files = {path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file()}
    missing = {str(path) for path in files if not (unpacked / path).is_file()}
    assert missing == set()


def test_its_version_is_that_of_the_package(unpacked: Path) -> None:
    source = "import djoauth2_twisted as package; print(package.__file__); print(package.__version__)"
    file, version = run("-c", source, folder=unpacked).splitlines()
    assert file == str(unpacked / "djoauth2_twisted" / "__init__.py")
    assert unpacked.name == f"djoauth2_twisted-{version}"
    assert run("-m", "djoauth2_twisted.cli", "--version", folder=unpacked) == f"{version}\n"


def test_its_tests_pass(unpacked: Path) -> None:
    """Some quick ones, with what they need beside them: pages, documentation and settings."""
    chosen = ("tests/protocol/test_protocol_pkce.py", "tests/test_testing.py")
    output = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, folder=unpacked)
    assert " passed" in output
