"""Plugin, pages and migrations are found where the package is a checkout, and where it is installed."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from service_kit import DJOAUTH2, ROOT, TWIST, TWISTD, run

#: What a wheel is made of.
NEEDED = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md")
NEEDED_FOLDERS = ("djoauth2_twisted", "templates", "twisted")

BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        shutil.copy(ROOT / name, folder)
    for name in NEEDED_FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built of a copy of the checkout."""
    pytest.importorskip("setuptools", minversion="77")
    built = tmp_path_factory.mktemp("wheel")
    source = built / "source"
    shutil.copytree(checkout, source)
    done = run(sys.executable, "-W", "ignore", "-c", BUILD, str(built), folder=source)
    assert done.returncode == 0, done.stderr
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installer puts it into a folder of sys.path."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files(folder: Path, *names: str) -> set[str]:
    """The files of a kind in a folder."""
    return {str(path.relative_to(folder)) for name in names for path in folder.rglob(name)}


def test_the_wheel_has_all_that_is_needed_and_nothing_else(wheel: Path, checkout: Path):
    """Every module, page and migration, the plugin, and nothing that would hide Twisted."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {f"djoauth2_twisted/{name}" for name in files(checkout / "djoauth2_twisted", "*.py")}
    pages = {
        f"djoauth2_twisted/templates/{name}"
        for name in files(checkout / "templates", "*.html", "*.css", "*.svg")
    }
    catalogues = {
        f"djoauth2_twisted/{name}" for name in files(checkout / "djoauth2_twisted", "*.po", "*.mo")
    }
    assert "djoauth2_twisted/stores/sql/migrations/versions/0001_first.py" in modules
    assert "djoauth2_twisted/locale/de/LC_MESSAGES/djoauth2_twisted.mo" in catalogues
    assert len(pages) >= 7
    assert names == {
        *modules,
        *pages,
        *catalogues,
        "djoauth2_twisted/protocol/common_passwords.txt",
        "djoauth2_twisted/py.typed",
        "twisted/plugins/djoauth2_plugin.py",
    }


def test_there_is_no_package_of_twisted_s_name_in_the_checkout():
    """It would hide Twisted from a developer who works in it."""
    assert files(ROOT / "twisted", "*.py") == {"plugins/djoauth2_plugin.py"}


@pytest.fixture(params=["checkout", "unpacked"])
def place(request: pytest.FixtureRequest) -> Path:
    """A folder on the path that has the package in it."""
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("program", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_twisted_lists_the_plugin(place: Path, tmp_path: Path, program):
    """Though the current folder is another."""
    done = run(*program, "--help", folder=tmp_path, path=place)
    assert done.returncode == 0, done.stderr
    assert "An OAuth 2.0 authorization server." in done.stdout


def test_the_plugin_imports_nothing_of_ours(place: Path, tmp_path: Path):
    """Everyone's twistd imports it, whatever it is to run; above all it must install no reactor."""
    program = (
        "import sys; from twisted.plugins import djoauth2_plugin as plugin; print(plugin.__file__); "
        "print([name for name in sys.modules if name.startswith(('djoauth2', 'klein', 'sqlalchemy')) "
        "or name == 'twisted.internet.reactor'])"
    )
    done = run(sys.executable, "-c", program, folder=tmp_path, path=place)
    assert done.stdout.splitlines() == [str(place / "twisted/plugins/djoauth2_plugin.py"), "[]"]


@pytest.mark.parametrize("options", [(), ("--openid",)])
def test_the_demo_works_from_another_folder(place: Path, tmp_path: Path, options: tuple[str, ...]):
    """Pages and schema are found; nothing is left behind."""
    where = run(
        sys.executable,
        "-c",
        "import djoauth2_twisted; print(djoauth2_twisted.__file__)",
        folder=tmp_path,
        path=place,
    )
    assert where.stdout.strip() == str(place / "djoauth2_twisted/__init__.py")
    done = run(*DJOAUTH2, "demo", "--once", *options, folder=tmp_path, path=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Every step worked.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("djoauth2_twisted.cli", {"klein", "sqlalchemy", "twisted.internet.reactor"}),
        ("djoauth2_twisted.interfaces", {"klein", "sqlalchemy", "treq", "twisted.internet.reactor"}),
        ("djoauth2_twisted.tap", {"alembic", "click", "treq"}),
        ("djoauth2_twisted.stores.sql.registry", {"alembic", "sqlalchemy.dialects.mysql"}),
    ],
)
def test_what_is_not_needed_is_not_imported(tmp_path: Path, module: str, needless: set[str]) -> None:
    """So a command is quick, an application chooses its reactor, and a server has room to spare."""
    source = f"import sys, {module}; print(sorted({needless!r} & set(sys.modules)))"
    done = run(sys.executable, "-c", source, folder=tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")
