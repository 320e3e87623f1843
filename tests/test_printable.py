"""Text that is printed on a terminal, in a log or in the audit trail."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from djoauth2_twisted.printable import printable, printable_lines, without_secrets


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("there is no scope " + "aB3" * 10, "there is no scope \u2026"),
        (
            "redirect_uri https://a" + "9" * 22 + ".example/cb is not registered",
            "redirect_uri https://\u2026.example/cb is not registered",
        ),
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "\u2026"),
        ("a" * 21 + " " + "a-" * 20, "a" * 21 + " " + "a-" * 20),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(text: str, shown: str) -> None:
    """A secret, code, token or code verifier is hidden wherever it stands; names stay readable."""
    assert without_secrets(text) == shown


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
