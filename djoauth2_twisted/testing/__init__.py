"""For tests of what you guard or embed: no network, no database, and a clock that the test moves.

A guarded resource needs three lines::

    verifier = GrantingVerifier()
    site = MemorySite(OAuthGuard(resource, verifier, scopes=("user_info",)))
    assert site.get("/", token=verifier.grant("alice", "user_info")).status == 200

An embedded server, with a user who logs in and consents::

    with MemoryServer() as server:
        server.add_scope("user_info")
        alice = server.add_user("alice")
        client = server.add_client("My application", "https://app.example/cb")
        tokens = client.tokens(server.browser(alice))
        assert server.get("/api/user_info/", token=tokens["access_token"]).status == 200

Requests go through the agent of `treq.testing`, by https. Each method returns when the answer is there.
Importing this package installs no reactor, and it works with every test runner.
"""

from ..protocol.pkce import challenge_of
from .answers import Answer, Form, Page
from .browser import Browser, OAuthClient
from .requests import MemoryAgent, MemorySite, basic, result_of
from .server import MemoryServer
from .verifier import GrantingVerifier, memory_clock

__all__ = [
    "Answer",
    "Browser",
    "Form",
    "GrantingVerifier",
    "MemoryAgent",
    "MemoryServer",
    "MemorySite",
    "OAuthClient",
    "Page",
    "basic",
    "challenge_of",
    "memory_clock",
    "result_of",
]
