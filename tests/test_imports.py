"""Importing the package leaves the choice of the reactor to the application."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

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


#: A process that runs each script of its input in a fork of its own, and prints the error of each, or an
#: empty text. What the package uses of others is imported before, as that takes longest.
FORKS = """
import json
import os
import sys
import traceback

import alembic, argon2, attrs, blinker, click, cryptography.x509, jinja2, joserfc.jwk, sqlalchemy
import treq, twisted.application.service, twisted.cred.checkers, twisted.internet.asyncioreactor
import twisted.protocols.tls, twisted.test.iosim, twisted.web.server, werkzeug.routing

assert not {"twisted.internet.reactor", "djoauth2_twisted"} & set(sys.modules)
for line in sys.stdin:
    if not (child := os.fork()):
        error = ""
        try:
            exec(json.loads(line), {})
        except BaseException:
            error = traceback.format_exc()
        print(json.dumps(error), flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(json.dumps(f"the fork ended with {status}"), flush=True)
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[str], str]]:
    """Runs a script in a process where nothing else has installed a reactor, and returns its error."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        scripts, errors = forks.stdin, forks.stdout

        def run(script: str) -> str:
            scripts.write(json.dumps(script) + "\n")
            scripts.flush()
            error: str = json.loads(errors.readline())
            return error

        yield run


@pytest.mark.parametrize("statement", IMPORTS)
def test_asyncio_reactor_can_follow_a_public_name(run: Callable[[str], str], statement: str) -> None:
    assert run(statement + THEN_ASYNCIO) == ""


def test_import_that_installs_a_reactor_is_noticed(run: Callable[[str], str]) -> None:
    assert "it installs a reactor" in run("from twisted.internet import reactor" + THEN_ASYNCIO)
    assert run(IMPORTS[0] + THEN_ASYNCIO) == ""


def test_no_module_installs_a_reactor(run: Callable[[str], str]) -> None:
    """But for those of Redis and of the demonstration, which the server imports when it needs them."""
    assert run(EVERYTHING_ELSE) == ""


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
