"""Write what users write into a folder: the examples, the programs of the guides, and `guarded.py`.

The settings of the type checkers are those that docs/guard.md recommends, word for word::

    python tests/user_types/collect.py FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> dict[str, str]:
    """The named blocks of a page, without their indentation."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(r"^( *)<!-- ([^\n]+) -->\n *```\w+\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return {name: re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, name, block in found}


def files() -> dict[str, str]:
    """What each file contains, by its name."""
    programs = {
        path.name: path.read_text("utf-8")
        for path in (*ROOT.glob("examples/*.py"), ROOT / "tests/user_types/guarded.py")
    }
    for name, block in blocks("docs/testing.md").items():
        programs[re.sub(r"\W+", "_", f"testing {name}") + ".py"] = block
    programs["embedding.py"] = blocks("README.md")["embedding"]
    settings = {
        name: block for name, block in blocks("docs/guard.md").items() if name.endswith((".ini", ".json"))
    }
    return programs | settings


def main(folder: str) -> None:
    """Write the files into a folder that exists."""
    for name, text in files().items():
        Path(folder, name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
