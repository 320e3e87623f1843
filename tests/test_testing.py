"""`djoauth2_twisted.testing`: what its users rely on, and the examples of docs/testing.md."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.static import Data
from zope.interface.verify import verifyObject

from djoauth2_twisted import ITokenVerifier, OAuthGuard, Settings
from djoauth2_twisted.errors import InsufficientScope, InvalidToken, TemporarilyUnavailable
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.resource_owners import ResourceOwnerRealm
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.testing import (
    GrantingVerifier,
    MemoryServer,
    MemorySite,
    OAuthClient,
    basic,
    challenge_of,
    result_of,
)

GUIDE = Path(__file__).parents[1].joinpath("docs/testing.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"<!-- ([^>]+) -->\n```python\n(.*?)```\n", GUIDE, re.DOTALL))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_the_guide_passes(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "test_mine"}
    exec(compile(EXAMPLES[name], f"docs/testing.md: {name}", "exec"), namespace)
    tests = [value for key, value in namespace.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_every_example_of_the_guide_has_a_name() -> None:
    assert len(EXAMPLES) == GUIDE.count("```python")


def test_the_import_installs_no_reactor_and_needs_no_pytest() -> None:
    source = (
        "import sys, djoauth2_twisted.testing;"
        "print(sorted({'twisted.internet.reactor', 'pytest', 'klein'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# The verifier.


def test_the_verifier_provides_its_interface() -> None:
    assert verifyObject(ITokenVerifier, GrantingVerifier())


def test_a_granted_token_is_what_the_test_said() -> None:
    verifier = GrantingVerifier()
    owner = ResourceOwner("alice", email="alice@example.com")
    token = verifier.grant(owner, "read", "write", client_id="app", lifetime=60)
    found = result_of(verifier.verify(token, ("write",)))
    assert (found.user, found.scopes, found.client_id) == (owner, ("read", "write"), "app")
    assert found.expires == found.issued + 60 == int(verifier.clock.seconds()) + 60
    assert verifier.asked == [(token, ("write",))]


def test_other_tokens_are_refused_as_by_the_server() -> None:
    verifier = GrantingVerifier()
    token, revoked = verifier.grant("alice", "read", lifetime=60), verifier.grant("alice", "read")
    verifier.revoke(revoked)
    for unknown in ("unknown", revoked):
        with pytest.raises(InvalidToken):
            result_of(verifier.verify(unknown, ()))
    with pytest.raises(InsufficientScope):
        result_of(verifier.verify(token, ("read", "write")))
    verifier.clock.advance(59)
    assert result_of(verifier.verify(token, ("read",)))
    verifier.clock.advance(1)
    with pytest.raises(InvalidToken):
        result_of(verifier.verify(token, ("read",)))


def test_the_verifier_can_be_out_of_reach() -> None:
    verifier = GrantingVerifier()
    verifier.error = TemporarilyUnavailable()
    with pytest.raises(TemporarilyUnavailable):
        result_of(verifier.verify(verifier.grant("alice"), ()))


# The site.


def test_an_answer_that_waits_is_an_error_which_says_so() -> None:
    with pytest.raises(AssertionError, match="no answer yet"):
        result_of(Deferred())


def test_requests_are_https_unless_the_address_says_otherwise() -> None:
    verifier = GrantingVerifier()
    root = Resource()
    root.putChild(b"in", OAuthGuard(Data(b"inside", "text/plain"), verifier))
    site, token = MemorySite(root), verifier.grant("alice")
    assert site.get("/in", token=token).body == b"inside"
    assert site.get("http://as.example/in", token=token).error == "invalid_request"


# The server.


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as server:
        server.add_scope("user_info")
        yield server


@pytest.fixture
def client(server: MemoryServer) -> OAuthClient:
    return server.add_client("App", "https://app.example/cb")


def test_a_guard_before_the_server_in_memory(server: MemoryServer, client: OAuthClient) -> None:
    """The guard may publish its metadata, as the server is a real one."""
    inside = Data(b"inside", "text/plain")
    address = "https://as.example/files"
    guard = OAuthGuard(inside, server.server, scopes=("user_info",), address=address)
    server.root.putChild(b"files", guard)
    tokens = client.tokens(server.browser(server.add_user("alice")))
    assert server.get("/files", token=tokens["access_token"]).body == b"inside"
    described = server.get("/.well-known/oauth-protected-resource/files")
    assert described.json["resource"] == address


def test_a_wrong_password_does_not_log_in(server: MemoryServer) -> None:
    alice = server.add_user("alice", "a long password")
    with pytest.raises(AssertionError, match="alice is not logged in"):
        server.browser(alice, "a wrong password")


def test_log_out_ends_the_login(server: MemoryServer, client: OAuthClient) -> None:
    browser = server.browser(server.add_user("alice"))
    assert client.ask(browser).is_consent
    browser.log_out()
    assert browser.follow(client.ask(browser)).is_login


def test_pkce(server: MemoryServer, client: OAuthClient) -> None:
    browser, verifier = server.browser(server.add_user("alice")), "v" * 43
    challenge = {"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"}
    code = client.code(browser, **challenge)
    assert client.exchange(code).error == "invalid_grant"
    assert client.exchange(code, code_verifier=verifier).status == 200


def test_settings_and_the_clock_are_those_of_the_test() -> None:
    with MemoryServer(settings=Settings(access_token_lifetime=60)) as server:
        server.add_scope("user_info")
        client = server.add_client("App", "https://app.example/cb")
        tokens = client.tokens(server.browser(server.add_user("alice")))
        assert tokens["expires_in"] == 60
        server.clock.advance(60)
        assert server.get("/api/user_info/", token=tokens["access_token"]).error == "invalid_token"


def test_an_administrator_may_disable_a_user(server: MemoryServer, client: OAuthClient) -> None:
    tokens = client.tokens(server.browser(server.add_user("alice")))
    server.do(server.administration.edit_user("alice", disabled=True))
    assert client.refresh(tokens["refresh_token"]).error == "invalid_grant"


def test_a_portal_of_the_application() -> None:
    passwords = InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
    portal = Portal(ResourceOwnerRealm(MemoryRegistry()), [passwords])
    with MemoryServer(portal=portal) as server:
        assert server.browser("bob", "secret").cookies


def test_a_resource_server_introspects(server: MemoryServer, client: OAuthClient) -> None:
    api = server.add_client("API", resource_server=True)
    tokens = client.tokens(server.browser(server.add_user("alice")))
    authorization = ("Authorization", basic(api.client_id, api.secret))
    form = {"token": tokens["access_token"]}
    answer = server.post("/oauth2/introspect/", form, headers=[authorization])
    assert answer.json["active"]


def test_two_servers_live_side_by_side() -> None:
    """Each has its own stores; a token of one is unknown to the other."""
    with MemoryServer() as one, MemoryServer(lambda _: Resource()) as other:
        one.add_scope("user_info")
        client = one.add_client("App", "https://app.example/cb")
        token = client.tokens(one.browser(one.add_user("alice")))["access_token"]
        assert result_of(one.server.verify(token, ("user_info",)))
        with pytest.raises(InvalidToken):
            result_of(other.server.verify(token, ("user_info",)))
