"""docs/dependencies.md lists what pyproject.toml needs, and the repairs of txredisapi that there are."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def name_of(requirement: str) -> str:
    """The package that a requirement names."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def test_the_page_lists_the_dependencies_and_no_others() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = [
        *PROJECT["dependencies"],
        *(each for name in extras if name != "dev" for each in extras[name]),
    ]
    listed = re.findall(r"^\| `([\w.-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \| [^|]+ \|$", PAGE, re.M)
    assert sorted(listed) == sorted(map(name_of, needed))


def test_the_page_lists_our_repairs_of_txredisapi() -> None:
    source = (ROOT / "djoauth2_twisted" / "stores" / "redis" / "txredis.py").read_text("utf-8")
    defined = {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        # These only join others.
        if node.name
        not in {"_ServerSubscriberProtocol", "_MasterSubscriberProtocol", "_leave_to_the_factory"}
    }
    listed = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE.partition("## txredisapi")[2], re.M)
    assert set(listed) == defined
