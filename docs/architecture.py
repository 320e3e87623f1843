"""Draws the floors in docs/architecture.md from the imports: `python docs/architecture.py --write`.

Without ``--write`` it changes nothing, and ends with status 1 where the picture is out of date.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = "djoauth2_twisted"

_PICTURE = re.compile(r"(?<=```mermaid\n).*?(?=```\n)", re.DOTALL)

Arrow = tuple[str, str]


def floors() -> list[list[str]]:
    """The modules of each floor, uppermost first, as import-linter's layers have them."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    layers = max(
        (each["layers"] for each in tools["importlinter"]["contracts"] if each["type"] == "layers"),
        key=len,
    )
    return [
        [name.removeprefix(f"{PACKAGE}.") for name in re.findall(r"[\w.]+", each)] for each in layers
    ]


def imports() -> set[Arrow]:
    """Which module or package of the first level imports which other, without what follows from it."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    modules = graph.find_children(PACKAGE)
    for module in modules:
        graph.squash_module(module)
    arrows = {
        (module.partition(".")[2], other.partition(".")[2])
        for module in modules
        for other in graph.find_modules_directly_imported_by(module)
        if other in modules and other != module
    }
    return {arrow for arrow in arrows if not _follows(arrow, arrows - {arrow})}


def _follows(arrow: Arrow, others: set[Arrow]) -> bool:
    """Whether the end of an arrow is reached by others."""
    start, end = arrow
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        for there in {b for a, b in others if a == here} - seen:
            if there == end:
                return True
            seen.add(there)
            waiting.append(there)
    return False


def picture() -> str:
    """The floors and the imports between them, in Mermaid's language."""
    arrows = imports()
    drawn = {module for arrow in arrows for module in arrow}
    lines: list[str] = ["flowchart TD"]
    placed: set[str] = set()
    for number, modules in enumerate(floors()):
        shown = sorted({module for module in modules if module in drawn} - placed)
        placed |= set(shown)
        if shown:
            lines += [f'  subgraph floor{number}[" "]', *(f"    {each}" for each in shown), "  end"]
    lines += [f"  {each}" for each in sorted(drawn - placed)]
    lines += [f"  {start} --> {end}" for start, end in sorted(arrows)]
    return "\n".join(lines) + "\n"


def with_picture(page: str) -> str:
    """The page, with the present picture."""
    return _PICTURE.sub(lambda _: picture(), page, count=1)


def main(arguments: list[str]) -> int:
    """Draw the picture, or say that it is out of date."""
    page = PAGE.read_text("utf-8")
    drawn = with_picture(page)
    if arguments == ["--write"]:
        PAGE.write_text(drawn, "utf-8")
    elif drawn != page:
        print("the picture is out of date: python docs/architecture.py --write")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
