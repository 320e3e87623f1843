"""Importing the package leaves the choice of the reactor to the application."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import djoauth2_twisted

for name in djoauth2_twisted.__all__:
    getattr(djoauth2_twisted, name)
    assert "twisted.internet.reactor" not in sys.modules, f"{name} installs a reactor"
DJOAUTH2 = "access_token authorization conf decorators errors models signals views"
for module in (*DJOAUTH2.split(), "cred", "guard", "interfaces"):
    __import__(f"djoauth2_twisted.{module}")
    assert "twisted.internet.reactor" not in sys.modules, f"{module} installs a reactor"

from twisted.internet import asyncioreactor

asyncioreactor.install()
"""


def test_importing_any_public_name_installs_no_reactor():
    """In a fresh process, where nothing else has installed one."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
