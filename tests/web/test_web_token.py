"""The token endpoint: client authentication and the request's shape (RFC 6749, sections 2.3 and 3.2)."""

from __future__ import annotations

import base64
from collections.abc import Callable

import attrs
import pytest
from web_driver import (
    FORM,
    Answer,
    App,
    Browser,
    System,
    assert_token_error,
    basic,
    encoded,
    post_bytes,
    tokens_of,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import RegistrationError
from djoauth2_twisted.models import Client

MakeSystem = Callable[..., System]

TOKEN = "/oauth2/token/"


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode("ascii")


def still_good(app: App, code: str) -> bool:
    """Whether a refused request has left the code as it was (U-05)."""
    return "access_token" in tokens_of(app.exchange(code))


# Transport and methods.


def test_request_without_tls_is_refused(app: App, alice: Browser) -> None:
    """DJOAuth2's `test_ssl_required_insecure_request_fails`; RFC 6749, section 3.2."""
    code = app.code(alice)
    headers = [FORM, ("Authorization", basic(app.client_id, app.secret))]
    body = encoded(app.code_form(code))
    answer = app.system.send("POST", "http://as.example" + TOKEN, body, headers)
    assert_token_error(answer, 400, "invalid_request")
    assert answer.header("location") is None
    assert still_good(app, code)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_request_without_tls_is_served_where_ssl_only_is_false(
    make_system: MakeSystem, scheme: str
) -> None:
    system = make_system(Settings(ssl_only=False), origin=f"{scheme}://as.example")
    app = system.add_client("App")
    assert tokens_of(app.exchange(app.code(system.browser("alice"))))


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "post"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_other_methods_than_post_are_refused(app: App, alice: Browser, method: str, slash: str) -> None:
    """CA-21, D2: 405 with `Allow`, where DJOAuth2 said 400."""
    code = app.code(alice)
    headers = [FORM, ("Authorization", basic(app.client_id, app.secret))]
    body = None if method in {"GET", "HEAD", "TRACE"} else encoded(app.code_form(code))
    answer = app.system.send(method, f"/oauth2/token{slash}", body, headers)
    assert answer.status == 405
    assert answer.header("allow") == "POST"
    if method != "HEAD":
        assert_token_error(answer, 405, "invalid_request")
    assert still_good(app, code)


def test_no_cors_header_is_sent(app: App) -> None:
    """CA-28: nor is a preflight answered."""
    origin = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]
    assert app.token(app.code_form("x"), headers=origin).header("access-control-allow-origin") is None
    preflight = app.system.send("OPTIONS", TOKEN, None, origin)
    assert preflight.status == 405


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=x",
        "application/json",
        "text/plain",
        "",
        None,
        "application/x-www-form",
    ],
)
def test_body_that_is_not_a_form_is_refused(app: App, alice: Browser, kind: str | None) -> None:
    """CA-20; RFC 6749, section 4.1.3 and appendix B."""
    code = app.code(alice)
    headers = [("Authorization", basic(app.client_id, app.secret))]
    if kind is not None:
        headers.append(("Content-Type", kind))
    body = encoded(app.code_form(code))
    if kind and "multipart" in kind:
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'
            for n, v in app.code_form(code).items()
        ]
        body = ("".join(parts) + "--x--\r\n").encode()
    assert_token_error(app.system.send("POST", TOKEN, body, headers), 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "charset",
    [
        "utf-16",
        "UTF-16LE",
        '"utf-16"',
        "iso-8859-1",
        "windows-1252",
        "utf-7",
        "utf-8x",
        "",
        "utf-8;charset=x",
    ],
)
@pytest.mark.parametrize("endpoint", ["token", "revoke", "introspect"])
def test_form_that_is_not_utf_8_is_refused(
    app: App, alice: Browser, endpoint: str, charset: str
) -> None:
    """RFC 6749, appendix B: "with a character encoding of UTF-8"; it is not read as if it were."""
    code = app.code(alice)
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    headers = [("Authorization", basic(app.client_id, app.secret)), ("Content-Type", kind)]
    form = app.code_form(code) if endpoint == "token" else {"token": "x"}
    answer = app.system.send("POST", f"/oauth2/{endpoint}/", encoded(form), headers)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", " utf-8 ", "utf-8; a=b", "utf-8;charset=utf-8"]
)
def test_form_that_is_said_to_be_utf_8_is_read(app: App, alice: Browser, charset: str) -> None:
    kind = f"application/x-www-form-urlencoded;charset={charset}"
    headers = [("Authorization", basic(app.client_id, app.secret)), ("Content-Type", kind)]
    body = encoded(app.code_form(app.code(alice)))
    assert tokens_of(app.system.send("POST", TOKEN, body, headers))


# Who the client is.


@pytest.mark.parametrize("auth", ["basic", "post"])
def test_client_may_authenticate_by_header_or_by_form(app: App, alice: Browser, auth: str) -> None:
    """CA-01; RFC 6749, section 2.3.1."""
    assert tokens_of(app.exchange(app.code(alice), auth=auth))


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc", "Basic  "])
def test_scheme_is_read_in_any_case(app: App, alice: Browser, scheme: str) -> None:
    """RFC 9110, section 11.1."""
    header = basic(app.client_id, app.secret).replace("Basic", scheme)
    answer = app.token(app.code_form(app.code(alice)), auth=None, headers=[("Authorization", header)])
    assert tokens_of(answer)


def test_same_client_id_in_the_form_is_one_authentication(app: App, alice: Browser) -> None:
    """INTERFACE, section 3."""
    assert tokens_of(app.token(app.code_form(app.code(alice), client_id=app.client_id)))


@pytest.mark.parametrize("with_id", [True, False])
def test_header_and_form_together_are_refused(app: App, alice: Browser, with_id: bool) -> None:
    """CA-02; RFC 6749, section 2.3: "MUST NOT use more than one authentication method"."""
    code = app.code(alice)
    client_id = app.client_id if with_id else None
    form = app.code_form(code, client_id=client_id, client_secret=app.secret)
    assert_token_error(app.token(form), 400, "invalid_request")
    assert still_good(app, code)


def test_another_client_id_in_the_form_is_refused(app: App, other_app: App, alice: Browser) -> None:
    """CA-03."""
    code = app.code(alice)
    answer = app.token(app.code_form(code, client_id=other_app.client_id))
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "query",
    [
        "?client_id={id}&client_secret={secret}",
        "?client_id={id}",
        "?client_secret={secret}",
        "?client%5Fsecret={secret}",
    ],
)
@pytest.mark.parametrize("auth", ["basic", "post", None])
def test_credentials_in_the_uri_are_refused(
    app: App, alice: Browser, query: str, auth: str | None
) -> None:
    """CA-04; RFC 6749, section 2.3.1: "MUST NOT be included in the request URI"."""
    code = app.code(alice)
    query = query.format(id=app.client_id, secret=app.secret)
    answer = app.token(app.code_form(code), auth=auth, query=query)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "header",
    [
        "INVALID",
        "Bearer abc",
        "",
        "Basic YTpi!!",
        "Basic YTpi\u00e9",
        "Basic " + b64(b"no colon"),
        "Basic " + b64(b"\xff\xfe:\xff"),
        "Basic " + b64(b"a" * 5000 + b":b"),
    ],
    ids=lambda header: ascii(header[:24]),
)
def test_malformed_authorization_header_is_refused(app: App, alice: Browser, header: str) -> None:
    """CA-05, CA-06, D3: 401 with a challenge, where DJOAuth2 said 400 (RFC 6749, section 5.2)."""
    code = app.code(alice)
    answer = app.token(app.code_form(code), auth=None, headers=[("Authorization", header)])
    assert_token_error(answer, 401, "invalid_client")
    assert still_good(app, code)


@pytest.mark.parametrize("secret", ["a+b%c:d é~ñ", "with:colon", ":::", "%2B", "日本語", "sp ace"])
def test_credentials_in_the_header_are_form_decoded(system: System, alice: Browser, secret: str) -> None:
    """CA-08, D9; RFC 6749, section 2.3.1 and appendix B."""
    uris = ("https://app.example/cb",)
    client = Client("my id+%~", "Odd", digest(secret), redirect_uris=uris)
    system.oracle.redirect_uris.update(uris)
    app = attrs.evolve(system.keep_client(client), secret=secret)
    assert tokens_of(app.exchange(app.code(alice)))
    assert tokens_of(app.exchange(app.code(alice), auth="post"))


@pytest.mark.parametrize("secret", ["with:colon", ":::", "a::b"])
def test_secret_with_an_unencoded_colon_is_read_whole(
    system: System, app: App, alice: Browser, secret: str
) -> None:
    """CA-08, D9: the first colon divides (RFC 7617, section 2)."""
    client = wait(system.registry.find_client(app.client_id))
    wait(system.registry.update_client(attrs.evolve(client, secret_digest=digest(secret))))
    header = ("Authorization", "Basic " + b64(f"{app.client_id}:{secret}".encode()))
    assert tokens_of(app.token(app.code_form(app.code(alice)), auth=None, headers=[header]))


@pytest.mark.parametrize("bad_first", [True, False])
def test_two_authorization_lines_are_refused(app: App, alice: Browser, bad_first: bool) -> None:
    """CA-10: Twisted would take the last, a proxy the first."""
    code = app.code(alice)
    lines = [("Authorization", basic(app.client_id, secret)) for secret in (app.secret, "wrong")]
    answer = app.token(app.code_form(code), auth=None, headers=lines[::-1] if bad_first else lines)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


def test_folded_authorization_line_is_never_read_as_two(app: App, alice: Browser) -> None:
    """CA-10: obs-fold (RFC 9112, section 5.2) is refused, or read as one line; never as two."""
    code = app.code(alice)
    body = encoded(app.code_form(code))
    answer = app.system.raw(post_bytes(TOKEN, body, f"Authorization: Basic\r\n {basic('x', 'y')}"))
    assert answer.status in {400, 401}
    assert still_good(app, code)


def test_unknown_wrong_and_disabled_clients_get_the_same_answer(
    app: App, other_app: App, alice: Browser
) -> None:
    """CA-11, D6: 401 with a challenge, and one body for all."""
    code = app.code(alice)
    other_app.change(disabled=True)
    answers = [
        attrs.evolve(app, client_id="unknown").exchange(code),
        attrs.evolve(app, client_id=app.client_id.swapcase()).exchange(code),
        attrs.evolve(app, client_id=app.client_id + " ").exchange(code),
        attrs.evolve(app, secret="wrong").exchange(code),
        attrs.evolve(app, secret=app.secret + " ").exchange(code),
        attrs.evolve(app, secret=app.secret.swapcase()).exchange(code),
        attrs.evolve(app, secret=other_app.secret).exchange(code),
        attrs.evolve(app, secret=app.secret[:-1]).exchange(code),
        other_app.exchange(code),
        attrs.evolve(app, secret="wrong").exchange(code, auth="post"),
    ]
    for answer in answers:
        assert_token_error(answer, 401, "invalid_client")
    assert len({answer.body for answer in answers}) == 1
    assert still_good(app, code)


def test_deleted_client_is_refused(app: App, alice: Browser) -> None:
    """CA-11: and its code is used (RT-14)."""
    code = app.code(alice)
    app.system.do(app.system.administration.delete_client(app.client_id))
    assert_token_error(app.exchange(code), 401, "invalid_client")
    assert app.system.grants() == []


@pytest.mark.parametrize(
    "form",
    [{}, {"client_id": "ID"}, {"client_secret": "SECRET"}, {"client_id": "ID", "client_secret": ""}],
)
def test_request_without_client_authentication_is_refused(
    app: App, alice: Browser, form: dict[str, str]
) -> None:
    """CA-12, D4: 401 `invalid_client`, where DJOAuth2 said 400 `invalid_request`."""
    code = app.code(alice)
    values = {"ID": app.client_id, "SECRET": app.secret}
    fields = {name: values.get(value, value) for name, value in form.items()}
    answer = app.token(app.code_form(code, **fields), auth=None)
    assert_token_error(answer, 401, "invalid_client")
    assert still_good(app, code)


@pytest.mark.parametrize("secret", ["é", "\udcff", "x\x00", "x" * 60_000], ids=lambda s: ascii(s[:9]))
def test_secret_beyond_ascii_is_refused(app: App, alice: Browser, secret: str) -> None:
    """CA-13: `compare_digest` takes no such text; nothing fails."""
    code = app.code(alice)
    fields = [*app.code_form(code).items(), ("client_id", app.client_id)]
    body = encoded(fields) + b"&client_secret=" + _percent(secret)
    answer = app.system.send("POST", TOKEN, body, [FORM])
    assert_token_error(answer, 401, "invalid_client")
    assert_token_error(_with_id(app, code, secret), 401, "invalid_client")
    assert still_good(app, code)


def _percent(text: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text.encode("utf-8", "surrogatepass")[:15_000])


def _with_id(app: App, code: str, client_id: str) -> Answer:
    body = encoded(app.code_form(code)) + b"&client_secret=x&client_id=" + _percent(client_id)
    return app.system.send("POST", TOKEN, body, [FORM])


def test_secret_before_a_rotation_is_refused(app: App, alice: Browser) -> None:
    """CA-27: from the next request on."""
    code = app.code(alice)
    secret = app.system.do(app.system.administration.rotate_secret(app.client_id))
    assert_token_error(app.exchange(code), 401, "invalid_client")
    assert still_good(attrs.evolve(app, secret=secret), code)


def test_both_secrets_are_good_during_the_overlap(app: App, alice: Browser) -> None:
    """CA-27: both are good for the time that was chosen, and the older of three never."""
    first = app.secret
    rotate = app.system.administration.rotate_secret
    second = app.system.do(rotate(app.client_id, 60))
    third = app.system.do(rotate(app.client_id, 60))
    app.system.oracle.secrets.update({second, third})
    code = app.code(alice)
    assert_token_error(attrs.evolve(app, secret=first).exchange(code), 401, "invalid_client")
    app.system.advance(59)
    tokens = still_good(attrs.evolve(app, secret=second), code)
    assert tokens
    app.system.advance(1)
    code = app.code(alice)
    assert_token_error(attrs.evolve(app, secret=second).exchange(code), 401, "invalid_client")
    assert still_good(attrs.evolve(app, secret=third), code)
    app.change(name="Changed")
    kept = app.system.clients()[0]
    assert (kept.previous_secret_digest, kept.previous_secret_expires) == (None, None)


@pytest.mark.parametrize("overlap", [-1, 30 * 86400 + 1])
def test_overlap_of_two_secrets_is_bounded(app: App, overlap: int) -> None:
    with pytest.raises(RegistrationError, match="seconds"):
        app.system.do(app.system.administration.rotate_secret(app.client_id, overlap))


def test_challenge_names_the_realm(make_system: MakeSystem) -> None:
    system = make_system(Settings(realm='the "realm" \\ here'))
    answer = system.add_client("App").token({}, auth=None)
    assert answer.header("www-authenticate") == 'Basic realm="the \\"realm\\" \\\\ here"'


def test_many_wrong_secrets_are_throttled(
    system: System, app: App, other_app: App, alice: Browser
) -> None:
    """CA-15: by address and client; others are served, and so is this one from elsewhere."""
    code, other_code = app.code(alice), other_app.code(alice)
    guesses = [attrs.evolve(app, secret=f"guess {number}") for number in range(32)]
    statuses = [guess.exchange(code).status for guess in guesses]
    assert statuses == [401] * 30 + [429] * 2
    refused = app.exchange(code)
    assert_token_error(refused, 429, "temporarily_unavailable")
    assert int(refused.header("retry-after") or 0) > 0
    assert still_good(other_app, other_code)
    assert _from_elsewhere(app, code).status == 200
    system.advance(int(refused.header("retry-after") or 0))
    assert tokens_of(app.exchange(app.code(alice)))


def test_a_mistyped_secret_does_not_lock_the_client_out(
    system: System, app: App, alice: Browser
) -> None:
    """CA-15: one of eight nodes has a wrong secret; the other seven share its address and are served."""
    mistyped = attrs.evolve(app, secret=app.secret[:-1])
    code = app.code(alice)
    for _ in range(3):
        assert [mistyped.exchange(code).status for _ in range(32)] == [401] * 30 + [429] * 2
        for _ in range(7):
            assert tokens_of(app.exchange(app.code(alice)))
        system.advance(60)


def test_the_limits_on_wrong_secrets_are_settings(make_system: MakeSystem) -> None:
    """AB-03."""
    system = make_system(Settings(max_wrong_secrets=2, max_failures_per_address=5))
    app = system.add_client("App")
    wrong = [attrs.evolve(app, secret=f"guess {number}") for number in range(4)]
    assert [guess.token({}).status for guess in wrong] == [401, 401, 429, 429]
    strangers = [attrs.evolve(app, client_id=f"stranger {number}") for number in range(5)]
    assert [stranger.token({}).status for stranger in strangers] == [401, 401, 401, 429, 429]


def test_good_client_is_served_at_an_address_where_others_fail(
    system: System, app: App, alice: Browser
) -> None:
    """A proxy's: its failures wait, and only they."""
    code = app.code(alice)
    statuses = []
    for number in range(302):
        guess = attrs.evolve(app, client_id=f"guess-{number}", secret="wrong")
        statuses.append(guess.exchange(code).status)
    assert statuses == [401] * 300 + [429] * 2
    assert tokens_of(app.exchange(code))


def _from_elsewhere(app: App, code: str) -> Answer:
    authorization = f"Authorization: {basic(app.client_id, app.secret)}"
    claim = "X-Forwarded-For: 127.0.0.1"
    sent = post_bytes(TOKEN, encoded(app.code_form(code)), authorization, claim)
    return app.system.raw(sent, peer="198.51.100.9")


def test_five_wrong_secrets_are_not_throttled(app: App, alice: Browser) -> None:
    """INTERFACE, section 3."""
    code = app.code(alice)
    for _ in range(5):
        assert_token_error(attrs.evolve(app, secret="wrong").exchange(code), 401, "invalid_client")
    assert still_good(app, code)


# The request's parameters.


@pytest.mark.parametrize("again", ["same", "other"])
@pytest.mark.parametrize("name", ["grant_type", "code", "client_secret", "x"])
def test_repeated_parameter_is_refused(app: App, alice: Browser, name: str, again: str) -> None:
    """CA-17; RFC 6749, section 3.2: "MUST NOT be included more than once"."""
    code = app.code(alice)
    fields = [(n, v) for n, v in app.code_form(code).items()]
    if name in {"client_id", "client_secret"}:
        fields += [("client_id", app.client_id), ("client_secret", app.secret)]
    value = dict(fields).get(name) or "value"
    if name not in dict(fields):
        fields.append((name, value))
    fields.append((name, value if again == "same" else again))
    auth = None if name in {"client_id", "client_secret"} else "basic"
    answer = app.token(fields, auth=auth)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "name", ["code", "grant_type", "redirect_uri", "code_verifier", "refresh_token", "scope"]
)
def test_known_parameter_in_the_uri_is_refused(app: App, alice: Browser, name: str) -> None:
    """CA-18: Twisted's `args` would merge them."""
    code = app.code(alice)
    form = app.code_form(code)
    value = form.get(name) or "x"
    for body in (form, {**form, name: None}):
        answer = app.token(body, query=f"?{name}={value}")
        assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


@pytest.mark.parametrize("query", ["?x=1&x=2", "?extra=x"])
@pytest.mark.parametrize("endpoint", ["token", "revoke", "introspect"])
def test_repeated_unknown_parameter_is_refused(
    app: App, alice: Browser, endpoint: str, query: str
) -> None:
    """CA-17, CA-18: in the address, or in the address and in the body."""
    code = app.code(alice)
    form = app.code_form(code, extra="x") if endpoint == "token" else {"token": "x", "extra": "x"}
    headers = [("Authorization", basic(app.client_id, app.secret))]
    answer = app.system.post(f"/oauth2/{endpoint}/{query}", form, headers)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


def test_whole_form_in_the_uri_is_refused(app: App, alice: Browser) -> None:
    """CA-18: with an empty body, or none."""
    code = app.code(alice)
    query = "?" + encoded(app.code_form(code)).decode()
    assert_token_error(app.token({}, query=query), 400, "invalid_request")
    headers = [("Authorization", basic(app.client_id, app.secret))]
    answer = app.system.send("POST", TOKEN + query, None, headers)
    assert_token_error(answer, 400, "invalid_request")
    assert still_good(app, code)


def test_unknown_parameters_are_ignored(app: App, alice: Browser) -> None:
    """CA-19; RFC 6749, section 3.2."""
    assert tokens_of(app.token(app.code_form(app.code(alice), extra="x"), query="?session=1"))


@pytest.mark.parametrize("grant_type", [None, ""])
def test_missing_grant_type_is_refused(app: App, alice: Browser, grant_type: str | None) -> None:
    """CA-23."""
    answer = app.exchange(app.code(alice), grant_type=grant_type)
    assert_token_error(answer, 400, "invalid_request")


@pytest.mark.parametrize("grant_type", ["Authorization_Code", "password", "\udcff"])
def test_unsupported_grant_type_is_refused(app: App, alice: Browser, grant_type: str) -> None:
    """CA-24; RFC 9700, section 2.4; INTERFACE: two grant types and no other."""
    code = app.code(alice)
    answer = app.exchange(code, grant_type=grant_type, username="alice", password="correct horse")
    assert_token_error(answer, 400, "unsupported_grant_type")
    assert still_good(app, code)


def test_answer_holds_what_the_standard_wants(app: App, alice: Browser) -> None:
    """CA-26; RFC 6749, section 5.1 (`tokens_of` looks at the headers)."""
    answer = app.exchange(app.code(alice, scope="verify autologin"))
    said = tokens_of(answer)
    assert set(said) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert said["expires_in"] == 3600
    assert said["scope"] == "verify autologin"
    assert said["access_token"] != said["refresh_token"]


def test_no_refresh_token_where_tokens_are_not_refreshable(make_system: MakeSystem) -> None:
    """DJOAuth2's ``DJOAUTH2_ACCESS_TOKENS_REFRESHABLE = False``."""
    system = make_system(Settings(access_tokens_refreshable=False))
    app = system.add_client("App")
    assert "refresh_token" not in app.tokens(system.browser("alice"))


def test_semicolon_does_not_separate_parameters(app: App, alice: Browser) -> None:
    """AZ-12's neighbour: it is part of the code's value."""
    code = app.code(alice)
    body = encoded(app.code_form(None)) + f"&code={code};x=1".encode()
    headers = [FORM, ("Authorization", basic(app.client_id, app.secret))]
    assert_token_error(app.system.send("POST", TOKEN, body, headers), 400, "invalid_grant")
    assert still_good(app, code)


@pytest.mark.parametrize(
    "body", [b"&" * 5000, b"=&" * 90, b"\xff\xfe\x00", b"%", b"a=%zz", b"grant_type", b""]
)
def test_odd_body_is_refused_without_a_fault(app: App, body: bytes) -> None:
    """U-01."""
    headers = [FORM, ("Authorization", basic(app.client_id, app.secret))]
    assert_token_error(app.system.send("POST", TOKEN, body, headers), 400, "invalid_request")


def test_resource_server_without_redirect_uri_gets_no_tokens(system: System) -> None:
    """INTERFACE, section 1: it may introspect, and has no redirect URI."""
    client, secret = system.do(system.administration.add_client("RS", resource_server=True))
    server = App(system, client.client_id, secret, "")
    assert_token_error(server.exchange("some code"), 400, "invalid_grant")
    assert_token_error(server.refresh("some token"), 400, "invalid_grant")
    assert wait(system.registry.find_client(client.client_id)).resource_server
