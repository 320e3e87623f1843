"""Limits that keep each room of the house small enough to be read at once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "djoauth2_twisted"

#: A migration is written once, and read as a list.
MODULES = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40


def test_no_module_is_too_long() -> None:
    long = [path.name for path in MODULES if path.read_text().count("\n") > MAX_MODULE_LINES]
    assert len(MODULES) > 150
    assert long == []


def test_no_function_is_too_long() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.name}: {node.name}, {lines} lines")
    assert long == []


def test_requests_reactors_and_clocks_are_typed_by_their_interfaces() -> None:
    untyped = re.compile(r"\b(request|reactor|clock): Any\b")
    assert [path.name for path in MODULES if untyped.search(path.read_text())] == []


def test_names_of_limits_begin_with_max() -> None:
    other = re.compile(r"^_?(MOST|LONGEST|LARGEST|HIGHEST|BIGGEST)(_\w+)? =", re.MULTILINE)
    assert [path.name for path in MODULES if other.search(path.read_text())] == []
