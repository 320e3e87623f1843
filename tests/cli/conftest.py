"""The command line, over stores that are empty."""

from __future__ import annotations

import pytest
from command_line import CommandLine
from twisted.internet.defer import succeed

from djoauth2_twisted.administration import Administration
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore


@pytest.fixture
def djoauth2() -> CommandLine:
    """The command line over empty stores. A password's hash is the password in brackets."""
    return CommandLine(
        Administration(
            MemoryRegistry(),
            MemoryTokenStore(),
            Settings(),
            lambda password: succeed(f"<{password}>"),
        )
    )
