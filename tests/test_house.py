"""Limits that keep each room of the house small enough to be read at once."""

from __future__ import annotations

import ast
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
