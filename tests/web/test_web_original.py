"""The table of DJOAuth2's tests is true: each is named once, and what holds it exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROW = re.compile(r"\| `(test_\w+)` \| `(\w+)\.(\w+)` \|")


def test_every_behaviour_of_the_original_is_held() -> None:
    table = (TESTS / "djoauth2_behaviours.md").read_text()
    sections = [ROW.findall(section) for section in table.split("\n## ")[1:]]
    assert sum(map(len, sections)) == 112
    for rows in sections:
        assert len({original for original, _, _ in rows}) == len(rows)
    held = {
        (path.stem, node.name)
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {(module, name) for rows in sections for _, module, name in rows} <= held
