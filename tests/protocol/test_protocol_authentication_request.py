"""The parameters that OpenID Connect adds to an authorization request, and when they demand a login."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import InvalidRequest
from djoauth2_twisted.models import Client
from djoauth2_twisted.parameters import Parameters
from djoauth2_twisted.protocol import authorization
from djoauth2_twisted.protocol.authentication_request import (
    MAX_HINT_LENGTH,
    MAX_NONCE_LENGTH,
    AuthenticationRequest,
    demands_login,
    names_openid,
    read,
)

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
NOW = 1_700_000_000


def asked(**sent):
    return read(Parameters(sent))


def test_without_its_parameters_nothing_is_asked_for():
    assert asked() == AuthenticationRequest()
    assert not asked().is_silent


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("none", {"none"}),
        ("login", {"login"}),
        ("login consent", {"login", "consent"}),
        ("select_account", {"select_account"}),
        ("create", set()),
        ("Login", set()),
        ("consent create", {"consent"}),
        (" ", set()),
    ],
)
def test_prompt_names_what_is_known(text, prompts):
    assert asked(prompt=text).prompts == prompts
    assert asked(prompt=text).is_silent is (prompts == {"none"})


@pytest.mark.parametrize("text", ["none login", "consent none", "none create"])
def test_prompt_none_stands_alone(text):
    """Section 3.1.2.1: with any other value, an error is returned."""
    with pytest.raises(InvalidRequest):
        asked(prompt=text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1", 1), ("10000", 10000), ("007", 7)])
def test_max_age_is_a_number_of_seconds(text, seconds):
    assert asked(max_age=text).max_age == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "", "ten", "1e3", "٣", "+1", "9" * 13, " 1"])
def test_another_max_age_is_refused(text):
    with pytest.raises(InvalidRequest):
        asked(max_age=text)


@pytest.mark.parametrize("nonce", ["x", "a b", "é" * MAX_NONCE_LENGTH, '"\\', "-._~+/="])
def test_a_nonce_is_kept_as_it_is(nonce):
    assert asked(nonce=nonce).nonce == nonce


@pytest.mark.parametrize("nonce", ["\udcff", "a\0b", "a\nb", "x" * (MAX_NONCE_LENGTH + 1)])
def test_a_nonce_that_cannot_be_sent_back_is_refused(nonce):
    with pytest.raises(InvalidRequest):
        asked(nonce=nonce)


@pytest.mark.parametrize("hint", ["é", "\udcff", "x" * (MAX_HINT_LENGTH + 1)])
def test_an_id_token_hint_is_ascii_and_bounded(hint):
    with pytest.raises(InvalidRequest):
        asked(id_token_hint=hint)


def test_the_languages_come_in_their_order_without_what_is_no_tag():
    assert asked(ui_locales="fr-CA de <script> \udcff en").ui_locales == ("fr-CA", "de", "en")


OTHERS = ["display", "claims_locales", "acr_values", "claims", "registration", "unheard_of"]


@given(st.dictionaries(st.sampled_from(OTHERS), st.text(max_size=20)))
def test_other_parameters_have_no_effect(sent):
    assert asked(**sent) == AuthenticationRequest()


@pytest.mark.parametrize(
    ("sent", "auth_time", "demands"),
    [
        ({}, NOW, False),
        ({}, None, False),
        ({"prompt": "login"}, NOW, True),
        ({"prompt": "none"}, None, False),
        ({"prompt": "consent select_account"}, NOW - 99999, False),
        ({"max_age": "0"}, NOW, True),
        ({"max_age": "1"}, NOW - 1, False),
        ({"max_age": "1"}, NOW - 2, True),
        ({"max_age": "10000"}, NOW - 2, False),
        ({"max_age": "10000"}, None, True),
        ({"prompt": "none", "max_age": "0"}, NOW, True),
    ],
)
def test_a_login_is_demanded_by_prompt_and_age(sent, auth_time, demands):
    assert demands_login(asked(**sent), auth_time, NOW, has_logged_in=False) is demands
    assert not demands_login(asked(**sent), auth_time, NOW, has_logged_in=True)


@pytest.mark.parametrize(
    ("scope", "named"),
    [("openid", True), ("a openid b", True), ("openids", False), ("OPENID", False), (None, False)],
)
def test_the_scope_openid_makes_it_an_authentication_request(scope, named):
    assert names_openid(Parameters({} if scope is None else {"scope": scope})) is named


def judged(openid=True, **sent):
    client = Client("a-client", "An app", digest("x"), redirect_uris=("https://app.example/cb",))
    parameters = Parameters({"response_type": "code", "scope": "openid", **sent})
    uri = client.redirect_uris[0]
    return authorization.check_request(
        parameters, client, uri, require_state=True, require_pkce=False, openid=openid
    )[0]


@pytest.mark.parametrize(
    "more", [{"nonce": "n"}, {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}]
)
def test_a_nonce_or_pkce_protects_as_well_as_state(more):
    assert judged(**more).state is None
    for unprotected in ({}, {**more, "scope": "email"}):
        with pytest.raises(InvalidRequest, match="state"):
            judged(**unprotected)
    with pytest.raises(InvalidRequest, match="state"):
        judged(openid=False, **more)


def test_the_parameters_count_only_with_the_scope_and_the_setting():
    assert judged(state="s", nonce="n").authentication == AuthenticationRequest(nonce="n")
    assert judged(state="s", prompt="none login", scope="email").authentication is None
    assert judged(openid=False, state="s", prompt="none login", max_age="x").authentication is None
