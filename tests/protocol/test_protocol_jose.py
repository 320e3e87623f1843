"""Signatures: what is signed, and whose signature counts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from djoauth2_twisted.protocol import jose
from djoauth2_twisted.protocol.jose import BadToken, PrivateKey

KEYS = {algorithm: jose.new_key(algorithm) for algorithm in ("RS256", "ES256")}
PUBLIC = {key.kid: key.public() for key in KEYS.values()}
CLAIMS = {"iss": "https://as.example", "sub": "s", "exp": 1}


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.fixture(params=list(KEYS.values()), ids=list(KEYS))
def key(request: Any) -> PrivateKey:
    found: PrivateKey = request.param
    return found


def test_what_is_signed_is_verified(key: PrivateKey) -> None:
    token = key.sign(CLAIMS)
    assert jose.verify(token, PUBLIC) == CLAIMS
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}


def test_kid_is_the_thumbprint() -> None:
    """RFC 7638, section 3.1: the example."""
    example: Any = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2"
        "QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6W"
        "eZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    }
    key = jose._named("RS256", RSAKey.import_key(example))
    assert key.kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_hash_of_an_access_token() -> None:
    """OpenID Connect Core 1.0, appendix A.3."""
    token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert jose.access_token_hash(token) == "77QmUPtjPfzWtF2AnpK9RQ"


def test_private_half_is_not_shown(key: PrivateKey) -> None:
    """Neither in the public JWK nor in a repr."""
    secret = json.loads(key.secret())
    shown = json.dumps(key.public()) + repr(key)
    assert set(key.public()) <= {"kty", "n", "e", "crv", "x", "y", "kid", "use", "alg"}
    for member in set(secret) & {"d", "p", "q", "dp", "dq", "qi"}:
        assert secret[member] not in shown


def test_key_is_read_again(key: PrivateKey) -> None:
    again = jose.read_key(key.algorithm, key.secret())
    assert (again.kid, again.public()) == (key.kid, key.public())
    assert jose.verify(again.sign(CLAIMS), PUBLIC) == CLAIMS


def test_no_name_of_a_key_looks_like_an_option() -> None:
    assert not any(jose.new_key("ES256").kid.startswith("-") for _ in range(200))


def test_signature_of_another_key_does_not_count(key: PrivateKey) -> None:
    """Also where the header names one of ours."""
    stranger = jose.new_key(key.algorithm)
    for token in (
        stranger.sign(CLAIMS),
        jws.serialize_compact(
            {"alg": key.algorithm, "kid": key.kid}, b"{}", stranger._key, algorithms=[key.algorithm]
        ),
    ):
        with pytest.raises(BadToken):
            jose.verify(token, PUBLIC)


def test_algorithm_is_the_keys_and_not_the_tokens(key: PrivateKey) -> None:
    """RFC 8725, section 3.1: neither ``none``, nor a MAC with the public key as its secret."""
    unsigned = f"{encoded({'alg': 'none', 'kid': key.kid})}.{encoded(CLAIMS)}."
    secret = OctKey.import_key(json.dumps(key.public()))
    mac = jws.serialize_compact({"alg": "HS256", "kid": key.kid}, b"{}", secret, algorithms=["HS256"])
    other = {"RS256": "ES256", "ES256": "RS256"}[key.algorithm]
    crossed = KEYS[other].sign(CLAIMS).split(".")
    crossed[0] = encoded({"alg": other, "kid": key.kid})
    for token in (unsigned, mac, ".".join(crossed)):
        with pytest.raises(BadToken):
            jose.verify(token, PUBLIC)


def test_changed_token_is_refused(key: PrivateKey) -> None:
    head, claims, signature = key.sign(CLAIMS).split(".")
    changed = encoded({**CLAIMS, "sub": "another"})
    critical = encoded({"alg": key.algorithm, "kid": key.kid, "crit": ["x"], "x": 1})
    for token in (
        f"{head}.{changed}.{signature}",
        f"{critical}.{claims}.{signature}",
        f"{head}.{claims}.{encoded(b'x' * 64)}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
    ):
        with pytest.raises(BadToken):
            jose.verify(token, PUBLIC)


@pytest.mark.parametrize("crit", [5, [[]], [{}], "x", None, ["b64"]])
def test_a_malformed_crit_is_refused(key: PrivateKey, crit: Any) -> None:
    """RFC 7515, section 4.1.11. The header is read before the signature, so a stranger can send it."""
    head = encoded({"alg": key.algorithm, "kid": key.kid, "crit": crit})
    _, claims, signature = key.sign(CLAIMS).split(".")
    with pytest.raises(BadToken):
        jose.verify(f"{head}.{claims}.{signature}", PUBLIC)


def test_a_number_that_python_does_not_convert_is_refused() -> None:
    """It has more than 4,300 digits. The header is read before the signature."""
    with pytest.raises(BadToken):
        jose.verify(f"{encoded(b'[' + b'9' * 5000 + b']')}.e30.AA", PUBLIC)


def test_claims_are_an_object(key: PrivateKey) -> None:
    token = jws.serialize_compact(
        {"alg": key.algorithm, "kid": key.kid}, b"[]", key._key, algorithms=[key.algorithm]
    )
    with pytest.raises(BadToken):
        jose.verify(token, PUBLIC)


@given(
    st.one_of(
        st.text(),
        st.lists(st.text("abcXYZ019-_=.\u00e9"), max_size=5).map(".".join),
        st.lists(
            st.one_of(st.dictionaries(st.sampled_from(["alg", "kid", "b64"]), st.text()), st.text())
            .map(json.dumps)
            .map(lambda text: encoded(text.encode())),
            max_size=4,
        ).map(".".join),
    )
)
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(BadToken):
        jose.verify(text, PUBLIC)


def test_long_text_is_not_read() -> None:
    for text in ("." * 10**6, "e" * 10**6, encoded(b"[" * 10**5)):
        with pytest.raises(BadToken):
            jose.verify(text, PUBLIC)
