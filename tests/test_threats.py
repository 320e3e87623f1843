"""docs/threats.md has every section of the two standards, and what it names as a proof exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "threats.md").read_text("utf-8")
RULES = set(
    re.findall(r"^- \*\*([A-Z]+-\d\d|D\d+)\*\*", (ROOT / "docs/behaviours.md").read_text("utf-8"), re.M)
)
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
}


def numbered(section: str, last: int) -> set[str]:
    """The numbers of the subsections of a section."""
    return {f"{section}.{number}" for number in range(1, last + 1)}


#: The sections of the standards' tables of contents that describe a threat or recommend something.
SECTIONS = {
    "## RFC 6819, section 4": numbered("4.1", 5)
    | numbered("4.2", 4)
    | numbered("4.3", 5)
    | numbered("4.4.1", 13)
    | {"4.4.2", "4.4.3", "4.4.4"}
    | numbered("4.5", 4)
    | numbered("4.6", 7),
    "## RFC 6819, section 5": numbered("5.1", 3)
    | numbered("5.1.4.1", 5)
    | numbered("5.1.4.2", 5)
    | numbered("5.1.5", 11)
    | {"5.1.6", "5.2.1.1"}
    | numbered("5.2.2", 6)
    | numbered("5.2.3", 7)
    | numbered("5.2.4", 5)
    | numbered("5.3", 5)
    | numbered("5.4", 3)
    | {"5.5"},
    "## RFC 9700, section 2": {"2.1", "2.1.1", "2.1.2", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6"},
    "## RFC 9700, section 4": (numbered("4", 17) - {"4.10", "4.11"})
    | {"4.10.1", "4.10.2", "4.11.1", "4.11.2"},
}


def rows(heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, without their own headings."""
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\d\S*) \| (.+) \| (.+) \| (.+) \|$", part, re.M)
    return [list(row) for row in found]


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_section_of_a_standard_has_one_row(heading: str) -> None:
    named = [row[0] for row in rows(heading)]
    assert len(named) == len(set(named))
    assert set(named) == SECTIONS[heading]


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_row_names_rules_and_tests_that_exist(heading: str) -> None:
    assert len(RULES) > 150
    for section, _, _, proofs in rows(heading):
        for proof in proofs.split(", "):
            assert proof.strip("`") in (TESTS if proof.startswith("`") else RULES), (section, proof)
