"""Discovery and the key set. A test of a module of the certification has its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from admin_driver import fill_in
from joserfc import jwt
from joserfc.jwk import KeySet
from openid_driver import Provider, ask, unverified
from twisted.internet.defer import Deferred
from web_driver import App, Browser, System, wait

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.protocol.key_states import MARGIN, MAX_AGE, MAX_HINT_AGE

DOCUMENT = "/.well-known/openid-configuration"


def key_set(provider: Provider) -> KeySet:
    keys: Any = provider.send("GET", "/oauth2/jwks/").json
    return KeySet.import_key_set(keys)


def wait_for(work: Any) -> Any:
    """The result of a coroutine."""
    return wait(Deferred.fromCoroutine(work))


def document(provider: Provider, address: str = DOCUMENT) -> dict[str, Any]:
    answer = provider.send("GET", address)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    return answer.json


def test_oidcc_discovery_endpoint_verification(provider: Provider) -> None:
    """OpenID Connect Discovery 1.0, section 3: what must be there, and nothing null."""
    said = document(provider)
    assert said["issuer"] + DOCUMENT == provider.origin + DOCUMENT
    for name in ("authorization", "token", "userinfo", "revocation", "introspection"):
        assert said[f"{name}_endpoint"].startswith("https://as.example/oauth2/")
    assert said["jwks_uri"] == "https://as.example/oauth2/jwks/"
    assert said["subject_types_supported"] == ["public"]
    assert said["response_types_supported"] == ["code"]
    assert said["response_modes_supported"] == ["query"]
    assert said["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert {"openid", "profile", "email"} <= set(said["scopes_supported"])
    assert not {"address", "phone", "offline_access"} & set(said["scopes_supported"])
    assert {"sub", "iss", "auth_time", "email_verified"} <= set(said["claims_supported"])
    for name in ("claims_parameter", "request_parameter", "request_uri_parameter"):
        assert said[f"{name}_supported"] is False
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["ui_locales_supported"] == ["de", "en"]
    assert None not in said.values()
    # matrix-authentication-service#3126: methods with a JWT would need their algorithms.
    for name, methods in said.items():
        if name.endswith("auth_methods_supported"):
            assert methods == ["client_secret_basic", "client_secret_post"]


def test_both_documents_are_one(provider: Provider) -> None:
    assert document(provider) == document(provider, "/.well-known/oauth-authorization-server")


@pytest.mark.parametrize("issuer", ["https://as.example/", "https://as.example"])
def test_the_issuer_is_one_text_everywhere(make_provider: Callable[..., Provider], issuer: str) -> None:
    """With a slash at its end or without: go-oidc#338, Claude's refusal of another one."""
    provider = make_provider(issuer=issuer)
    rp = provider.add_client()
    page = rp.ask(alice := provider.browser("alice"), scope="openid")
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert answer.parameters["iss"] == issuer
    assert document(provider)["issuer"] == issuer
    tokens = rp.exchange(answer.parameters["code"]).json
    assert unverified(tokens["id_token"])["iss"] == issuer


def test_an_issuer_with_a_path_has_two_addresses(make_provider: Callable[..., Provider]) -> None:
    """Below the issuer, where a proxy takes the path away, and in the form of RFC 8414."""
    provider = make_provider(issuer="https://as.example/sso")
    assert document(provider)["issuer"] == "https://as.example/sso"
    assert document(provider, f"{DOCUMENT}/sso") == document(provider)
    assert provider.send("GET", f"{DOCUMENT}/other").status == 404


@pytest.mark.parametrize("path", ["/sso", "/sso/", "/sso/of%20us"])
def test_the_document_is_below_an_issuer_with_a_path(
    make_provider: Callable[..., Provider], path: str
) -> None:
    """OpenID Connect Discovery 1.0, section 4: also where no proxy takes the path away."""
    provider = make_provider(issuer=f"https://as.example{path}")
    assert document(provider, path.rstrip("/") + DOCUMENT) == document(provider)
    assert provider.send("GET", path).status == 404
    without = System(issuer=f"https://as.example{path}")
    assert without.send("GET", path.rstrip("/") + DOCUMENT).status == 404
    wait(without.server.stopService())


def test_an_issuer_that_is_the_tree_has_its_document_there(
    make_provider: Callable[..., Provider],
) -> None:
    """As of a host application that mounts nothing else."""
    provider = make_provider(issuer="https://as.example/oauth2")
    answer = provider.send("GET", f"/oauth2{DOCUMENT}")
    assert answer.json == document(provider)
    assert answer.header("access-control-allow-origin") == "*"
    other = make_provider()
    assert other.send("GET", f"/oauth2{DOCUMENT}").status == 404


def test_the_key_set_is_kept_by_caches(provider: Provider) -> None:
    """And asked for by its tag."""
    answer = provider.send("GET", "/oauth2/jwks/")
    assert answer.header("cache-control") == f"public, max-age={MAX_AGE}"
    tag = answer.header("etag")
    assert tag is not None
    again = provider.send("GET", "/oauth2/jwks", None, [("If-None-Match", f'"x", W/{tag}')])
    assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert provider.send("GET", "/oauth2/jwks/", None, [("If-None-Match", '"x"')]).status == 200
    assert provider.send("HEAD", "/oauth2/jwks/").body == b""
    refused = provider.send("POST", "/oauth2/jwks/")
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["jwks", "userinfo", ".well-known/openid-configuration"])
def test_a_server_that_has_ended_says_so_in_json(provider: Provider, path: str) -> None:
    """HT-10: programs ask there."""
    provider.stop()
    answer = provider.send("GET", f"/oauth2/{path}", faults=True)
    assert (answer.status, answer.error) == (503, "temporarily_unavailable")


def test_the_key_set_has_no_private_half(provider: Provider) -> None:
    """Two keys of each algorithm, of distinct names: one signs, and one will."""
    keys = provider.send("GET", "/oauth2/jwks/").json["keys"]
    assert sorted(key["alg"] for key in keys) == ["ES256", "ES256", "RS256", "RS256"]
    assert len({key["kid"] for key in keys}) == 4
    allowed = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}}
    for key in keys:
        assert set(key) == {"kty", "kid", "use", "alg"} | allowed[key["kty"]]
        assert key["use"] == "sig"


def test_a_client_with_a_cache_verifies_everything(make_provider: Callable[..., Provider]) -> None:
    """Through two rotations, though it keeps the key set for an hour."""
    provider = make_provider(openid_key_rotation=2 * 3600)
    rp, alice = provider.add_client(), provider.browser("alice")
    cached, fetched, kids = None, 0.0, set()
    for _ in range(12):
        if cached is None or provider.reactor.seconds() - fetched >= MAX_AGE:
            cached = key_set(provider)
            fetched = provider.reactor.seconds()
        answer = ask(rp, alice)
        code = rp.accept(alice, answer) if answer.is_consent else answer.parameters["code"]
        token = jwt.decode(rp.exchange(code).json["id_token"], cached, algorithms=["RS256"])
        kids.add(token.header["kid"])
        provider.advance(59 * 60)
        alice = provider.browser("alice")
    assert len(kids) >= 3


def test_a_retired_key_is_gone_in_the_end(provider: Provider) -> None:
    """Its private half at once."""
    before = wait(provider.registry.signing_keys())
    provider.advance(7776000)
    retired = [key for key in wait(provider.registry.signing_keys()) if key.state == "retired"]
    assert len(retired) == 2
    assert {key.sealed_private for key in retired} == {None}
    assert {key.kid for key in retired} <= {key.kid for key in before}
    published = provider.send("GET", "/oauth2/jwks/").json["keys"]
    assert {key.kid for key in retired} <= {key["kid"] for key in published}
    provider.advance(MAX_HINT_AGE + MARGIN + 120)
    published = provider.send("GET", "/oauth2/jwks/").json["keys"]
    assert not {key.kid for key in retired} & {key["kid"] for key in published}


def test_administrators_see_and_rotate_the_keys(provider: Provider, alice: Browser) -> None:
    """When all caches know the next ones. The form that is sent again changes nothing."""
    provider.do(provider.administration.edit_user("alice", admin=True))
    keys = wait(provider.registry.signing_keys())
    page = alice.get("/oauth2/admin/keys/")
    for key in keys:
        assert key.kid in page.text
    assert "These keys sign ID tokens." in page.words
    refused = alice.submit(page, "csrf_token")
    assert refused.status == 400
    assert "in every cache" in refused.words
    provider.advance(MAX_AGE + MARGIN)
    alice = provider.browser("alice")
    page = alice.get("/oauth2/admin/keys/")
    for _ in range(2):
        alice.submit(page, "csrf_token")
        now = wait(provider.registry.signing_keys())
        assert sorted(key.state for key in now) == ["current"] * 2 + ["next"] * 2 + ["retired"] * 2
    assert provider.browser("bob").get("/oauth2/admin/keys/").status == 403


def test_two_servers_on_a_registry_have_the_same_keys(
    make_provider: Callable[..., Provider],
) -> None:
    """The second takes those of the first, and learns of a rotation within ten seconds."""
    one = make_provider()
    two = AuthorizationServer(
        one.reactor, None, one.registry, one.tokens, issuer=one.issuer, settings=one.settings
    )
    two.startService()
    wait(two.when_ready())
    rings = [one.server.key_ring, two.key_ring]
    assert None not in rings

    def kids() -> list[str]:
        return [wait_for(ring.signer("RS256")).kid for ring in rings if ring is not None]

    assert len(set(kids())) == 1
    before = kids()
    one.advance(MAX_AGE + MARGIN)
    assert rings[0] is not None
    wait_for(rings[0].rotate())
    one.advance(10)
    assert len(set(kids())) == 1
    assert kids() != before
    wait(two.stopService())


def test_the_forms_have_what_openid_needs(provider: Provider, rp: App, alice: Browser) -> None:
    """Of a client, and of a user, whose new address is not verified."""
    provider.do(provider.administration.edit_user("alice", admin=True))
    client = f"/oauth2/admin/client/?id={rp.client_id}"
    answer = fill_in(
        alice,
        client,
        id_token_alg="ES256",
        post_logout_redirect_uris="https://app.example/a\r\nhttps://app.example/b",
        backchannel_logout_uri="https://app.example/out",
    )
    assert answer.status == 303
    kept = wait(provider.registry.find_client(rp.client_id))
    assert kept.id_token_alg == "ES256"
    assert kept.post_logout_redirect_uris == ("https://app.example/a", "https://app.example/b")
    assert kept.backchannel_logout_uri == "https://app.example/out"
    for wrong in (
        {"id_token_alg": "none"},
        {"post_logout_redirect_uris": "http://app.example/"},
        {"backchannel_logout_uri": "app.example"},
    ):
        assert fill_in(alice, client, **wrong).status == 400
    user = "/oauth2/admin/user/?id=bob"
    assert fill_in(alice, user, email="b@e.example", email_verified="yes").status == 303
    assert wait(provider.registry.find_user("bob")).email_verified
    assert fill_in(alice, user, email="c@e.example").status == 303
    assert not wait(provider.registry.find_user("bob")).email_verified
