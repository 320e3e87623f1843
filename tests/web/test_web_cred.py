"""Access tokens in twisted.cred: beside the passwords of `twisted.web.guard`, and at any Portal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.iweb import ICredentialFactory
from twisted.web.resource import IResource, Resource
from web_driver import FORM, Answer, System, basic, wait
from zope.interface import implementer
from zope.interface.verify import verifyObject

from djoauth2_twisted import ITokenVerifier, Settings
from djoauth2_twisted.cred import (
    BearerCredentialFactory,
    BearerToken,
    BearerTokenChecker,
    IBearerToken,
)
from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable, TooManyRequests
from djoauth2_twisted.guard import any_of
from djoauth2_twisted.models import AccessToken, ResourceOwner

MakeSystem = Callable[..., System]

TOKEN = AccessToken("client", ResourceOwner("alice"), ("user_info",), 0, 2**40, "grant")


class Inside(Resource):
    isLeaf = True

    def __init__(self, avatar_id: bytes) -> None:
        super().__init__()
        self._avatar_id = avatar_id

    def render(self, request: Any) -> bytes:
        return b"inside, for " + self._avatar_id


@implementer(IRealm)
class Realm:
    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        assert interfaces == (IResource,)
        return IResource, Inside(avatarId), lambda: None


@implementer(ITokenVerifier)
class Verifier:
    """It answers as the test says."""

    def __init__(self, answer: Callable[[], Deferred[AccessToken]]) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._answer = answer

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        self.asked.append((token, scopes))
        return self._answer()


class Site:
    """A place at `/g` that takes passwords and tokens."""

    def __init__(self, make_system: MakeSystem, verifier: Any = None, **named: Any) -> None:
        passwords = InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")

        def root(server: Any) -> Any:
            checker = BearerTokenChecker(verifier or server, ("user_info",))
            factories = [BasicCredentialFactory(b"here"), BearerCredentialFactory(server.settings)]
            tree = server.root()
            portal = Portal(Realm(), [passwords, checker])
            tree.putChild(b"g", HTTPAuthSessionWrapper(portal, factories))
            return tree

        self.system = make_system(root=root, **named)
        self.app = self.system.add_client("App")

    def token(self, scope: str = "user_info") -> str:
        return str(self.app.tokens(self.system.browser("alice"), scope)["access_token"])

    def send(self, *headers: tuple[str, str], path: str = "/g", **named: Any) -> Answer:
        return self.system.send("GET", path, named.get("body"), headers, bool(named.get("faults")))


def challenges(answer: Answer) -> list[str]:
    assert answer.status == 401
    return [str(line) for line in answer.headers.getRawHeaders("www-authenticate", [])]


BASIC = 'basic realm="here"'


def test_passwords_and_tokens_side_by_side(make_system: MakeSystem) -> None:
    site = Site(make_system)
    assert site.send(("Authorization", basic("bob", "secret"))).body == b"inside, for bob"
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = site.send(("Authorization", f"{scheme} {site.token()}"), path="/g/any/where")
        assert answer.body == b"inside, for alice"


def test_the_portal_refuses_other_credentials(make_system: MakeSystem) -> None:
    """RFC 6750, section 3: what was wrong is said where a token was sent, and only there."""
    site = Site(make_system, settings=Settings(realm="there"))
    bare = 'bearer realm="there"'
    assert challenges(site.send()) == [BASIC, bare]
    assert challenges(site.send(("Authorization", basic("bob", "wrong")))) == [BASIC, bare]
    assert challenges(site.send(path=f"/g?access_token={site.token()}")) == [BASIC, bare]
    wrong = f'{bare}, error="invalid_token"'
    assert challenges(site.send(("Authorization", "Bearer unknown"))) == [BASIC, wrong]
    too_little = ("Authorization", f"Bearer {site.token('verify')}")
    assert challenges(site.send(too_little)) == [BASIC, wrong]


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", 'Bearer "x"', "Bearer \udcff"])
def test_malformed_tokens(make_system: MakeSystem, header: str) -> None:
    """BG-08: nothing is looked up for them."""
    verifier = Verifier(lambda: succeed(TOKEN))
    site = Site(make_system, verifier)
    (_, challenge) = challenges(site.send(("Authorization", header)))
    assert 'error="invalid_request"' in challenge
    assert verifier.asked == []


def test_a_token_is_sent_once_and_over_tls(make_system: MakeSystem) -> None:
    """BG-09, BG-10, BG-11; RFC 6750, section 5.3."""
    site = Site(make_system)
    bearer = ("Authorization", f"Bearer {site.token()}")
    for answer in (
        site.send(bearer, path="/g?access_token=x"),
        site.send(bearer, FORM, body=b"access_token=x"),
        site.send(bearer, bearer),
        site.send(("Authorization", "Basic YTpi"), bearer),
        site.send(bearer, path="http://as.example/g"),
    ):
        assert 'error="invalid_request"' in challenges(answer)[1]


@pytest.mark.parametrize("path", ["/g", "/g/any/where"])
@pytest.mark.parametrize("later", [True, False])
def test_a_token_that_cannot_be_checked_is_answered_503(
    make_system: MakeSystem, log: Any, path: str, later: bool
) -> None:
    """BG-17: no client throws a good token away. The log has one line for each, and no traceback."""
    pending: list[Deferred[AccessToken]] = []

    def away() -> Deferred[AccessToken]:
        pending.append(Deferred())
        if not later:
            pending[-1].errback(TemporarilyUnavailable())
        return pending[-1]

    site = Site(make_system, Verifier(away))
    for count in (1, 2):
        bearer = ("Authorization", "Bearer tok")
        sent = site.system.begin("GET", path, None, [bearer], faults=True)
        if later:
            pending[-1].errback(TemporarilyUnavailable())
            site.system.agent.flush()
        answer = sent.answer
        assert (answer.status, answer.error) == (503, "temporarily_unavailable")
        assert answer.header("retry-after") == "1"
        assert answer.header("www-authenticate") is None
        lines = [line for line in log.lines if "could not be checked" in line]
        assert len(lines) == count
        assert "Traceback" not in "".join(log.lines)


def test_server_that_is_not_ready_answers_503(make_system: MakeSystem) -> None:
    """BG-17, with this process's own server as the verifier."""
    site = Site(make_system, started=False)
    answer = site.send(("Authorization", "Bearer tok"), faults=True)
    assert answer.status == 503
    assert site.send(("Authorization", basic("bob", "secret"))).body == b"inside, for bob"


def test_too_many_unknown_tokens_are_answered_429(make_system: MakeSystem) -> None:
    site = Site(make_system, Verifier(lambda: fail(TooManyRequests(retry_after=7))))
    answer = site.send(("Authorization", "Bearer tok"), faults=True)
    assert (answer.status, answer.header("retry-after")) == (429, "7")


def test_client_that_hangs_up_before_the_503_gets_nothing(make_system: MakeSystem) -> None:
    pending: Deferred[AccessToken] = Deferred()
    site = Site(make_system, Verifier(lambda: pending))
    wire = site.system.wire()
    wire.send(b"GET /g HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\n\r\n")
    wire.hang_up()
    pending.errback(TemporarilyUnavailable())
    assert wire.value() == b""


def test_any_other_failure_of_a_verifier_stays_a_500(
    make_system: MakeSystem, logged_failures: Any
) -> None:
    site = Site(make_system, Verifier(lambda: fail(ZeroDivisionError())))
    answer = site.send(("Authorization", "Bearer tok"), faults=True)
    assert answer.status == 500
    assert len(logged_failures.take(ZeroDivisionError)) == 1


def test_another_protocol_sees_the_failure_of_the_verifier() -> None:
    """There is no request to answer, and the token is not refused."""
    checker = BearerTokenChecker(Verifier(lambda: fail(TemporarilyUnavailable())))
    with pytest.raises(TemporarilyUnavailable):
        wait(checker.requestAvatarId(BearerToken("tok")))


@pytest.mark.parametrize(
    "found", [None, attrs.evolve(TOKEN, scopes=("other",))], ids=["nothing", "less"]
)
@pytest.mark.parametrize("later", [True, False])
def test_the_checker_judges_what_the_verifier_found(
    make_system: MakeSystem, found: Any, later: bool
) -> None:
    """The checker looks at what it found, and at its scopes, once more."""
    answer: Any = (lambda: succeed(found)) if later else (lambda: found)
    site = Site(make_system, Verifier(answer))
    assert site.send(("Authorization", "Bearer tok")).status == 401


def test_the_interfaces_are_kept() -> None:
    assert verifyObject(ICredentialFactory, BearerCredentialFactory())
    assert verifyObject(ICredentialsChecker, BearerTokenChecker(Verifier(lambda: succeed(TOKEN))))
    assert verifyObject(IBearerToken, BearerToken("tok"))
    assert ICredentials.providedBy(BearerToken("tok"))


def test_credentials_keep_their_secret() -> None:
    """U-03."""
    assert "tok" not in repr(BearerToken("tok")).replace("BearerToken", "")
    assert BearerToken(b"tok") == BearerToken("tok")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        BearerToken("tok").token = "other"  # type: ignore[misc]


def asked(credentials: Any, scopes: Any = (), found: AccessToken = TOKEN) -> tuple[Any, list[Any]]:
    verifier = Verifier(lambda: succeed(found))
    checker = BearerTokenChecker(verifier, scopes)
    return checker.requestAvatarId(credentials), verifier.asked


def test_the_avatar_is_the_resource_owner() -> None:
    avatar_id, looked_up = asked(BearerToken("tok"), ("user_info",))
    assert wait(avatar_id) == b"alice"
    assert looked_up == [("tok", ("user_info",))]
    other = attrs.evolve(TOKEN, user=ResourceOwner("zoë"))
    assert wait(asked(BearerToken("tok"), found=other)[0]) == "zoë".encode()


@pytest.mark.parametrize("token", ["", "a b", "t\u00f6k", b"\xff\x00", "=", "x" * 9000, "tok\n"])
def test_a_malformed_token_is_not_looked_up(token: Any) -> None:
    """Whatever a line of another protocol holds."""
    avatar_id, looked_up = asked(BearerToken(token))
    with pytest.raises(UnauthorizedLogin):
        wait(avatar_id)
    assert looked_up == []


def test_alternatives_at_a_portal() -> None:
    assert wait(asked(BearerToken("tok"), any_of("admin", "user_info"))[0]) == b"alice"
    with pytest.raises(UnauthorizedLogin):
        wait(asked(BearerToken("tok"), any_of("admin", "verify"))[0])


def test_a_scope_that_cannot_exist_stops_the_start() -> None:
    """BG-13; and there are no methods at a Portal."""
    with pytest.raises(ConfigurationError):
        BearerTokenChecker(Verifier(lambda: succeed(TOKEN)), ("a b",))
    with pytest.raises(TypeError, match="a sequence of names"):
        BearerTokenChecker(Verifier(lambda: succeed(TOKEN)), {"GET": ("a",)})


def test_a_factory_says_what_it_cannot_read(system: System) -> None:
    from twisted.web.test.requesthelper import DummyRequest

    request: Any = DummyRequest([b"g"])
    request.uri = b"/g"
    request.requestHeaders.setRawHeaders(b"authorization", [b"Bearer a b"])
    with pytest.raises(LoginFailed, match="not a Bearer token"):
        BearerCredentialFactory(Settings(ssl_only=False)).decode(b"a b", request)
