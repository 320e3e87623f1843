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


def test_a_server_reads_and_imports_nothing_more_once_it_is_made():
    """After `--uid` or `--chroot` it could not, and during an upgrade it would read another release."""
    run = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[]\n", "")
