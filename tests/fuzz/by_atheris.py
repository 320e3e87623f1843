"""Fuzzes the parsers of `fuzz_parsers` with atheris, which looks for bytes that reach more of the code::

    pip install atheris
    python tests/fuzz/by_atheris.py forwarded -max_total_time=60
    python tests/fuzz/by_atheris.py all -max_total_time=10

``-max_total_time`` and the other options are libFuzzer's. With ``all``, each parser has its own process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import atheris

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS / "web"), str(_TESTS)]

with atheris.instrument_imports(include=["djoauth2_twisted", "twisted.web.http", "twisted.protocols"]):
    from fuzz_parsers import PARSERS


def main(name: str, *options: str) -> int:
    """Run one parser, or all. The status is that of atheris: not 0 where a rule is broken."""
    if name == "all":
        command = [sys.executable, __file__]
        runs = [subprocess.run([*command, each, *options], check=False) for each in PARSERS]
        return int(any(run.returncode for run in runs))
    atheris.Setup([__file__, *options], PARSERS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
