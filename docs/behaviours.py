"""Writes the lists of tests into docs/behaviours.md: `python docs/behaviours.py --write`.

Without ``--write`` it changes nothing, prints what is wrong, and ends with status 1 where anything is.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "behaviours.md"

_PREFIXES = "AB|AC|AD|AZ|BG|CA|CC|CG|DB|F|GW|HT|IN|LG|MD|OI|PK|RD|RT|RU|RV|SF|TL|U|UI"
_ONE = rf"(?<![\w%-])(?:(?:{_PREFIXES})-\d\d|D(?:1[0-2]|[1-9]))(?![\w-])"
_IDENTIFIER = re.compile(_ONE)
#: "RU-02 to RU-19" means all rules between them, too.
_RANGE = re.compile(rf"({_ONE}) to ({_ONE})")
_RULE = re.compile(rf"^- \*\*({_ONE})\*\*: .+ Source: .+\.$")

#: Where tests are. Those of the store contract are a part of the package.
_FOLDERS = ("tests", "djoauth2_twisted/stores/contract")

#: The names of tests by file; a file without names shows the behaviour as a whole.
Tests = dict[str, set[str]]


def rules(page: str) -> list[str]:
    """The identifiers that the page has a rule for, in its order."""
    return [found[1] for line in page.splitlines() if (found := _RULE.match(line))]


def cited(text: str, known: list[str]) -> set[str]:
    """The identifiers that a line of a test cites."""
    named = set(_IDENTIFIER.findall(text))
    for first, last in _RANGE.findall(text):
        prefix = first.split("-")[0] + "-"
        named |= {each for each in known if each.startswith(prefix) and first <= each <= last}
    return named


def citations(root: Path, known: list[str]) -> dict[str, Tests]:
    """The tests of a checkout that cite each identifier."""
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(path for folder in _FOLDERS for path in (root / folder).rglob("*.py")):
        source = path.read_text("utf-8")
        names = _names_of_lines(source)
        for number, line in enumerate(source.splitlines(), 1):
            for identifier in cited(line, known):
                tests = found[identifier][path.relative_to(root).as_posix()]
                if number in names:
                    tests.add(names[number])
    return {identifier: dict(tests) for identifier, tests in found.items()}


def _names_of_lines(source: str) -> dict[int, str]:
    """The test, or the class of tests, that each line of a file belongs to."""
    names: dict[int, str] = {}
    for node, name in _tests_of(ast.parse(source)):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        names.update(dict.fromkeys(range(first, (node.end_lineno or first) + 1), name))
    return names


def _tests_of(
    tree: ast.AST, outer: str = ""
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield node, outer + node.name
            yield from _tests_of(node, f"{outer}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node, outer + node.name


def with_tests(page: str, found: dict[str, Tests]) -> str:
    """The page, with the present tests below each rule."""
    lines: list[str] = []
    for line in page.splitlines():
        if line.startswith("  - "):
            continue
        lines.append(line)
        rule = _RULE.match(line)
        for path, names in sorted(found.get(rule[1], {}).items() if rule else ()):
            listed = ", ".join(f"`{name}`" for name in sorted(names))
            lines.append(f"  - `{path}`" + (f": {listed}" if listed else ""))
    return "\n".join(lines) + "\n"


def problems(page: str, found: dict[str, Tests]) -> list[str]:
    """What is wrong with the page, in words."""
    known = rules(page)
    wrong = [f"{each} has two rules" for each in set(known) if known.count(each) > 1]
    wrong += [f"{each} is cited and has no rule" for each in sorted(set(found) - set(known))]
    wrong += [f"{each} has a rule, and no test cites it" for each in known if each not in found]
    wrong += [
        f"this is no rule: {line}"
        for line in page.splitlines()
        if line.startswith("- **") and not _RULE.match(line)
    ]
    if with_tests(page, found) != page:
        wrong.append("the lists of tests are out of date: python docs/behaviours.py --write")
    return wrong


def main(arguments: list[str]) -> int:
    """Write the lists, or say what is wrong."""
    page = PAGE.read_text("utf-8")
    found = citations(ROOT, rules(page))
    if arguments == ["--write"]:
        page = with_tests(page, found)
        PAGE.write_text(page, "utf-8")
    wrong = problems(page, found)
    print("\n".join(wrong) or f"{len(rules(page))} behaviours, each with its tests")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
