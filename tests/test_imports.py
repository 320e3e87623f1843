"""Importing the package leaves the choice of the reactor to the application."""

from __future__ import annotations

import subprocess
import sys

import pytest

import djoauth2_twisted

#: The modules that CONTRIBUTING.md calls public.
PUBLIC_MODULES = [
    *("access_token", "authorization", "conf", "decorators", "errors", "models", "signals", "views"),
    *("cred", "interfaces", "stores.contract", "testing"),
]

IMPORTS = [
    *(f"from djoauth2_twisted import {name}" for name in djoauth2_twisted.__all__),
    *(f"import djoauth2_twisted.{module}" for module in PUBLIC_MODULES),
    "from djoauth2_twisted.guard import any_of",
    "from djoauth2_twisted.web.site import LimitedSite",
    "from djoauth2_twisted.stores.composed import compose",
]

THEN_ASYNCIO = """
import sys

assert "twisted.internet.reactor" not in sys.modules, "it installs a reactor"

from twisted.internet import asyncioreactor

asyncioreactor.install()

from twisted.internet import reactor

assert isinstance(reactor, asyncioreactor.AsyncioSelectorReactor), reactor
"""

# The modules that this leaves out need a reactor: txredisapi imports it, and so does Klein.
EVERYTHING_ELSE = """
import pkgutil
import sys
import djoauth2_twisted

names = [module.name for module in pkgutil.walk_packages(djoauth2_twisted.__path__, "djoauth2_twisted.")]
assert len(names) > 100
for name in names:
    if not name.endswith(".__main__") and ".stores.redis." not in name and ".cli.demo." not in name:
        __import__(name)
        assert "twisted.internet.reactor" not in sys.modules, f"{name} installs a reactor"
"""


def run(script: str) -> None:
    """Run a script in a fresh process, where nothing else has installed a reactor."""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("statement", IMPORTS)
def test_asyncio_reactor_can_follow_a_public_name(statement: str) -> None:
    run(statement + THEN_ASYNCIO)


def test_no_module_installs_a_reactor() -> None:
    """But for those of Redis and of the demonstration, which the server imports when it needs them."""
    run(EVERYTHING_ELSE)


SERVING = """
import sys
from djoauth2_twisted.testing import MemoryServer

read = []
with MemoryServer() as server:
    sys.addaudithook(lambda event, given: read.append(given[0]) if event in ("import", "open") else None)
    server.add_scope("read")
    client = server.add_client("A", "https://app.example/cb")
    client.tokens(server.browser(server.add_user("alice")), scope="read")
    for language in ("en", "de"):
        for page in ("login", "logout", "account", "nothing"):
            server.get(f"/oauth2/{page}/", headers=[("Accept-Language", language)])
    server.get("https://xn--bcher-kva.example/oauth2/login/")
    "b\\u00fccher".encode("idna").decode("idna"), b"{}".decode("utf-16")
    assert server.get("/healthz").status == 200
print(read)
"""


def test_a_server_reads_and_imports_nothing_more_once_it_is_made() -> None:
    """After `--uid` or `--chroot` it could not, and during an upgrade it would read another release."""
    run = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[]\n", "")
