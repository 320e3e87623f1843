"""Keeps measured figures in ``results/``, from which `plots.py` makes tables and plots.

Each file has the figures and when, where and of which commit they were measured.
"""

import json
import os
import platform
import subprocess
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "results"
PACKAGE = FOLDER.parents[1] / "djoauth2_twisted"


def git(*arguments):
    """What git says of the package."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def state():
    """What was measured, and where."""
    # The last commit that has changed what is measured, and whether it was changed since.
    changes = " and changes" if git("status", "--porcelain", ".") else ""
    return {
        "commit": git("log", "-1", "--format=%h", ".") + changes,
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        # How many processes of the whole machine wanted a processor, in the mean of a minute.
        "load": round(os.getloadavg()[0], 1),
    }


def write(name, figures):
    """Keep the figures of a benchmark."""
    text = json.dumps({"state": state(), "figures": figures}, indent=1)
    (FOLDER / f"{name}.json").write_text(f"{text}\n")


def read(name):
    """The state and the figures of a benchmark, or None where it was not run."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return kept["state"], kept["figures"]
