"""The documentation is true: behaviours, architecture, decisions, and what is named in them exists."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import djoauth2_twisted

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def script(name: str) -> ModuleType:
    """A script of the documentation, imported."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Behaviours.

behaviours = script("behaviours")
# Written so that this file cites no behaviour itself.
KEY = "U-" + "01"
RULE = f"- **{KEY}**: No input makes the server fail. Source: RFC 9110, section 15.6.1.\n"


def test_behaviours_and_tests_name_each_other() -> None:
    """If this fails: `python docs/behaviours.py --write`, and it says what is left."""
    page = behaviours.PAGE.read_text("utf-8")
    found = behaviours.citations(ROOT, behaviours.rules(page))
    assert behaviours.problems(page, found) == []


@pytest.mark.parametrize(
    ("page", "found", "problem"),
    [
        ("", {KEY: {}}, f"{KEY} is cited and has no rule"),
        (RULE, {}, f"{KEY} has a rule, and no test cites it"),
        (RULE + RULE, {KEY: {}}, f"{KEY} has two rules"),
        (RULE, {KEY: {"tests/test_a.py": {"test_b"}}}, "the lists of tests are out of date"),
        (f"- **{KEY}**: No source.\n", {}, "this is no rule"),
    ],
)
def test_what_is_wrong_with_the_behaviours_is_found(page: str, found: object, problem: str) -> None:
    assert any(each.startswith(problem) for each in behaviours.problems(page, found))


def test_identifiers_are_told_from_what_looks_like_them(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    first, second, decided = "CG-" + "01", "CG-" + "02", "D" + "8"
    (tests / "test_a.py").write_text(f'''"""{second} holds here. SHA-25, UTF-81, RFC-64, X{first}."""

class TestA:
    def test_b(self):
        """{first}, {decided}: %{decided}%A1"""


@decorator("{second}")
async def test_c():
    pass
''')
    assert behaviours.citations(tests.parent, []) == {
        first: {"tests/test_a.py": {"TestA::test_b"}},
        second: {"tests/test_a.py": {"test_c"}},
        decided: {"tests/test_a.py": {"TestA::test_b"}},
    }


def test_a_range_means_the_rules_between() -> None:
    names = ["CG-" + number for number in ("01", "02", "04", "05")]
    assert behaviours.cited(f"{names[1]} to {names[3]}", names) == set(names[1:])


# Decisions, contributions, links.


def test_the_index_names_each_decision() -> None:
    index = (DOCS / "decisions" / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \| .+ \|$", index, re.MULTILINE)
    assert listed == sorted(
        path.name for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md"
    )


def test_every_link_between_our_documents_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / link).exists()
    ]
    assert broken == []


def test_the_tables_of_performance_have_the_figures_that_are_kept() -> None:
    """If this fails: `python benchmarks/plots.py --write`."""
    command = [sys.executable, str(ROOT / "benchmarks" / "plots.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_public_is_said() -> None:
    public = CONTRIBUTING.partition("## What is public")[2].partition("## Words")[0]
    missing = [name for name in djoauth2_twisted.__all__ if f"`{name}`" not in public]
    assert missing == []
    modules = re.findall(r"`([a-z_.]+)`", public.partition("The modules with DJOAuth2's names")[2])
    assert {"cred", "interfaces", "stores.contract", "testing", "views"} <= set(modules)
    assert set(modules) <= names_of_the_package()


def test_the_sessions_of_nox_exist() -> None:
    """Where there is a noxfile, it has the sessions that CONTRIBUTING names."""
    noxfile = ROOT / "noxfile.py"
    if not noxfile.exists():
        pytest.skip("there is no noxfile.py")
    functions = {name.replace("_", "-") for name in defined(ast.parse(noxfile.read_text("utf-8")))}
    assert set(re.findall(r"`nox -s ([\w-]+)`", CONTRIBUTING)) <= functions


# Architecture.

architecture = script("architecture")
MAP = architecture.PAGE.read_text("utf-8")
PACKAGE = ROOT / architecture.PACKAGE


def test_the_picture_is_drawn_from_the_imports() -> None:
    """If this fails: `python docs/architecture.py --write`."""
    assert "-->" in MAP
    assert architecture.with_picture(MAP) == MAP


def test_an_arrow_that_follows_from_others_is_found() -> None:
    arrows = {("a", "b"), ("b", "c")}
    assert architecture._follows(("a", "c"), arrows)
    assert not architecture._follows(("c", "a"), arrows)


def defined(tree: ast.AST, outer: str = "") -> Iterator[str]:
    """The names that a module defines, those in classes as ``Class.name``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield outer + node.name
            if isinstance(node, ast.ClassDef):
                yield from defined(node, f"{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (outer + each.id for each in targets if isinstance(each, ast.Name))
        elif isinstance(node, ast.If):
            yield from defined(node, outer)


def names_of_the_package() -> set[str]:
    """Every name that a module of ours defines, and the modules themselves, with dots."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        names.add(module.removesuffix(".__init__"))
        names.update(defined(ast.parse(path.read_text("utf-8"))))
    return names


def is_path(text: str) -> bool:
    return re.fullmatch(r"[\w./-]*(/|\.py|\.toml|\.md)", text) is not None and not text.startswith("/")


def is_name(text: str) -> bool:
    """Whether a text looks like a class, a function, a method or a module, rather than a word."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+|I?[A-Z]\w*[a-z]\w*|[a-z]+_\w+", text) is not None


#: What looks like a name, and is a parameter or a value of the standards.
WORDS = {"client_id", "redirect_uri", "__call__"}


def test_every_name_on_the_map_exists() -> None:
    quoted = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", MAP)) - WORDS
    paths = {text for text in quoted if is_path(text)}
    missing = {text for text in paths if not ((ROOT / text).exists() or (PACKAGE / text).exists())}
    names = {text.removeprefix("djoauth2_twisted.") for text in quoted - paths if is_name(text)}
    missing |= names - names_of_the_package()
    assert len(names) > 30
    assert sorted(missing) == []
