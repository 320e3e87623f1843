"""Text that is printed on a terminal, in a log or in the audit trail."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from djoauth2_twisted.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain", "plain"),
        ("R\xf6t \u65e5\u672c", "R\xf6t \u65e5\u672c"),
        ("a\x1b[31m\x9b", r"a\x1b[31m\x9b"),
        ("a\r\n\t\x00", r"a\r\n\t\x00"),
        ("a\u202e\u2066\u200b", r"a\u202e\u2066\u200b"),
        ("a\udcff", r"a\udcff"),
        ("a\U000e0041", r"a\U000e0041"),
    ],
)
def test_only_printable_characters_are_printed(text: str, printed: str) -> None:
    assert printable(text) == printed


def test_line_breaks_of_a_text_are_kept() -> None:
    assert printable_lines("one\r\ntwo\x1b[1m\n") == "one\ntwo\\x1b[1m"


def test_there_is_one_way_to_escape() -> None:
    """No module beside `printable` escapes characters for itself."""
    package = Path(__file__).resolve().parent.parent / "djoauth2_twisted"
    others = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value == "unicode_escape":
                others.add(path.name)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ascii":
                others.add(path.name)
            if isinstance(node, ast.Subscript) and ast.unparse(node).startswith("repr("):
                others.add(path.name)
    assert others == {"printable.py"}
