"""``djoauth2 demo``, with and without ``--openid``, in this process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import attrs
import pytest
import pytest_twisted
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from treq.client import HTTPClient
from waiting import result_of

from djoauth2_twisted.cli.demo.openid_walk import OpenIDWalk
from djoauth2_twisted.cli.demo.relying_party import RefusedError, RelyingParty
from djoauth2_twisted.cli.demo.system import System, start
from djoauth2_twisted.cli.demo.walk import Form, StepFailed, Walk, walk
from djoauth2_twisted.endpoints import id_tokens

pytestmark = pytest.mark.usefixtures("few_keys")

NOW = 1_700_000_000
ISSUER = "https://localhost:8443"
GOOD = {"iss": ISSUER, "aud": "app", "sub": "s1", "iat": NOW, "exp": NOW + 60, "nonce": "n1"}


@cache
def key_of(owner: str) -> RSAKey:
    """A key, which is made when it is needed: that takes long."""
    return RSAKey.generate_key(2048)


@asynccontextmanager
async def demo(folder: Path, *, openid: bool) -> AsyncIterator[System]:
    from twisted.internet import reactor

    system = await start(reactor, folder, 0, openid=openid)
    try:
        yield system
    finally:
        await system.stop()


@attrs.define
class Visitor:
    """A browser at the demo."""

    system: System
    http: HTTPClient = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.http = HTTPClient(self.system.agent)

    async def open(self, path: str) -> tuple[str, str]:
        """The page to which a path leads, and its address."""
        return await self._read(await self.http.get(urljoin(self.system.address, path)))

    async def send(self, page: tuple[str, str], **typed: str) -> tuple[str, str]:
        form = Form(page[0])
        target = urljoin(page[1], form.action)
        response = await self.http.post(target, data={**form.fields, **typed})
        # A busy machine does not compare each password in time.
        while response.code == 503:
            response = await self.http.post(target, data={**form.fields, **typed})
        return await self._read(response)

    async def log_in(self) -> tuple[str, str]:
        """The application's page after a login and an acceptance."""
        page = await self.open("/app/login")
        who = {"username": self.system.username, "password": self.system.password}
        return await self.send(await self.send(page, **who), user_action="Accept")

    async def _read(self, response: Any) -> tuple[str, str]:
        return await response.text(), response.request.absoluteURI.decode("ascii")


def steps(printed: str) -> list[str]:
    """What the steps say, without their numbers."""
    return [re.sub(r"^ *\d+\. ", "", line) for line in printed.splitlines()]


@pytest_twisted.ensureDeferred
async def test_every_step_of_openid_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with demo(tmp_path, openid=True) as system:
        await walk(OpenIDWalk(system))
    said = steps(capsys.readouterr().out)
    assert said[-1] == "Every step worked."
    for part in (
        f"Discovery: the issuer is {system.address}",
        "alice logs in.",
        "The consent page names the application and four scopes.",
        "The ID token is good: signature, issuer, audience, expiry and nonce.",
        "UserInfo answers for the same subject: Alice Example, alice@example.com.",
        "The new ID token is good, too.",
        "The application refuses an ID token with a wrong signature, audience or nonce",
        "UserInfo refuses the old access token: 401.",
        "The server refuses a logout to an address that is not registered: 400.",
        "It shows the claims of the ID token and of UserInfo.",
        "The user logs out of the application and, by its ID token, of the server.",
        "A request with prompt=none now gets login_required.",
    ):
        assert any(line.startswith(part) for line in said), part


@pytest_twisted.ensureDeferred
async def test_without_openid_nothing_of_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with demo(tmp_path, openid=False) as system:
        await walk(Walk(system))
        visitor = Visitor(system)
        page, address = await visitor.open("/app/login")
        begun = dict(parse_qsl(urlsplit(dict(parse_qsl(urlsplit(address).query))["next"]).query))
        assert (begun["scope"], "nonce" in begun) == ("user_info photos", False)
        page, _ = await visitor.log_in()
        assert "Hello, Alice" in page
        assert "ID token" not in page
        assert "openid" not in (await visitor.open("/"))[0]
        with pytest.raises(StepFailed, match=r"^discovery: .* answered 404\.$"):
            await OpenIDWalk(system).all()
    said = steps(capsys.readouterr().out)
    assert len(said) == 15
    assert not any("ID token" in line or "UserInfo" in line for line in said)
    assert system.client.post_logout_redirect_uris == ()


@pytest_twisted.ensureDeferred
async def test_the_application_shows_the_claims_and_ends_the_login_at_the_server(tmp_path: Path) -> None:
    async with demo(tmp_path, openid=True) as system:
        visitor = Visitor(system)
        assert "/.well-known/openid-configuration" in (await visitor.open("/"))[0]
        page, address = await visitor.log_in()
        assert address == f"{system.address}/app/"
        subject = await system.server.administration.user(system.username)
        for name, value in {
            "iss": system.address,
            "sub": subject.subject,
            "aud": system.client.client_id,
            "email": "alice@example.com",
            "preferred_username": "alice",
        }.items():
            assert f"<dt>{name}</dt><dd>{value}</dd>" in page
        assert "<dt>nonce</dt>" in page
        page, _ = await visitor._read(await visitor.http.post(f"{system.address}/app/refresh"))
        assert "1 times" in page
        assert "<dt>nonce</dt>" not in page
        page, address = await visitor._read(await visitor.http.post(f"{system.address}/app/logout"))
        assert (address, "/app/login" in page) == (f"{system.address}/app/", True)
        assert "csrf_token" in (await visitor.open("/oauth2/login/"))[0]


def change_id_tokens(monkeypatch: pytest.MonkeyPatch, **change: Any) -> None:
    """Let the server issue ID tokens with other claims."""
    claims_of: Callable[..., dict[str, Any]] = id_tokens.claims_of
    monkeypatch.setattr(
        id_tokens, "claims_of", lambda *args, **named: claims_of(*args, **named) | change
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"aud": "another"}, "aud"),
        ({"iss": "https://another.example"}, "iss"),
        ({"exp": 1}, "expired"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_id_token_begins_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    change_id_tokens(monkeypatch, **change)
    async with demo(tmp_path, openid=True) as system:
        visitor = Visitor(system)
        page, _ = await visitor.log_in()
        assert "You are not logged in" in page
        assert "The ID token is not good" in page
        assert why in page
        assert "/app/login" in (await visitor.open("/app/"))[0]


@pytest_twisted.ensureDeferred
async def test_a_refresh_with_the_id_token_of_another_user_ends_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with demo(tmp_path, openid=True) as system:
        visitor = Visitor(system)
        assert "Hello, Alice" in (await visitor.log_in())[0]
        change_id_tokens(monkeypatch, sub="another")
        page, _ = await visitor._read(await visitor.http.post(f"{system.address}/app/refresh"))
        assert "The new ID token is of another login." in page
        assert "/app/login" in (await visitor.open("/app/"))[0]


@pytest_twisted.ensureDeferred
async def test_a_step_that_does_not_work_ends_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_id_tokens(monkeypatch, nonce="another")
    async with demo(tmp_path, openid=True) as system:
        with pytest.raises(StepFailed, match=r"^ID token: The ID token is not good: .*nonce"):
            await OpenIDWalk(system).all()


@attrs.define
class Answer:
    code: int
    content: Any

    async def json(self) -> Any:
        return self.content


@attrs.define
class Provider:
    """A provider's documents, by their addresses, for a relying party."""

    documents: dict[str, Any]

    async def get(self, address: str, headers: Any) -> Answer:
        found = self.documents.get(address.removeprefix(ISSUER))
        return Answer(404 if found is None else 200, found)


def relying_party(**changed: Any) -> RelyingParty:
    """A relying party of a provider whose documents may be others."""
    discovery = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/user"}
    documents = {
        "/.well-known/openid-configuration": discovery | changed.pop("discovery", {}),
        "/keys": KeySet([key_of("the provider")]).as_dict(private=False),
        **changed,
    }
    http: Any = Provider(documents)
    return RelyingParty(ISSUER, "app", http, lambda: float(NOW))


def token(key: RSAKey | OctKey | None = None, algorithm: str = "RS256", **change: Any) -> str:
    """An ID token; a claim that is None is left out."""
    own = key_of("the provider")
    claims = {name: value for name, value in (GOOD | change).items() if value is not None}
    header = {"alg": algorithm, "kid": own.thumbprint()}
    return jwt.encode(header, claims, key or own, algorithms=[algorithm])


def test_a_good_id_token_has_its_claims() -> None:
    assert result_of(relying_party().validate(token(), "n1")) == GOOD


@pytest.mark.parametrize(
    "bad",
    [
        lambda: token(iss="https://another.example"),
        lambda: token(iss=None),
        lambda: token(aud="another"),
        lambda: token(aud=["another"]),
        lambda: token(aud=["app", "another"]),
        lambda: token(aud=None),
        lambda: token(sub=None),
        lambda: token(exp=NOW - 1),
        lambda: token(exp=None),
        lambda: token(iat=None),
        lambda: token(nonce="n2"),
        lambda: token(nonce=None),
        lambda: token(key_of("another")),
        lambda: token(algorithm="RS512"),
        lambda: token(OctKey.generate_key(256), "HS256"),
        lambda: token().rpartition(".")[0] + ".",
        lambda: "no token",
        str,
    ],
)
def test_an_id_token_with_a_wrong_claim_or_signature_is_refused(bad: Callable[[], str]) -> None:
    with pytest.raises(RefusedError, match=r"^The ID token is not good: "):
        result_of(relying_party().validate(bad(), "n1"))


@pytest.mark.parametrize("change", [{"sub": "s2"}, {"auth_time": NOW - 1}, {"auth_time": None}])
def test_the_id_token_of_a_refresh_is_of_the_same_login(change: dict[str, Any]) -> None:
    party, known = relying_party(), GOOD | {"auth_time": NOW - 9}
    same = token(auth_time=NOW - 9, nonce=None)
    assert result_of(party.validate_renewed(same, known))["sub"] == "s1"
    other = token(**{"auth_time": NOW - 9, "nonce": None, **change})
    with pytest.raises(RefusedError, match=r"^The new ID token is of another login\.$"):
        result_of(party.validate_renewed(other, known))


def test_user_info_of_another_subject_is_not_used() -> None:
    party = relying_party(**{"/user": {"sub": "s1"}})
    assert result_of(party.user_info("token", "s1")) == {"sub": "s1"}
    with pytest.raises(RefusedError, match=r"^UserInfo is of another user\.$"):
        result_of(party.user_info("token", "s2"))


def test_the_discovery_of_another_issuer_is_not_used() -> None:
    party = relying_party(discovery={"issuer": f"{ISSUER}/"})
    with pytest.raises(RefusedError, match=r"^The discovery document is of another issuer\.$"):
        result_of(party.validate(token(), "n1"))
