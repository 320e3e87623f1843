"""What may be registered: clients, scopes, users and the issuer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.errors import ConfigurationError, RegistrationError
from djoauth2_twisted.messages import Message
from djoauth2_twisted.protocol.redirection import MAX_URI_LENGTH
from djoauth2_twisted.protocol.registration import (
    MAX_NAME_LENGTH,
    MAX_PASSWORD_LENGTH,
    MAX_REDIRECT_URIS,
    MAX_TEXT_LENGTH,
    check_about,
    check_client,
    check_image_url,
    check_issuer,
    check_name,
    check_password,
    check_scope,
    check_text,
    check_user,
)

CALLBACK = "https://app.example/cb"
UNPRINTABLE = ["\x00", "\x07", "\x1b[31m", "\x7f", "\u202e", "\u2028", "\ud800", "\udcff"]

anything = st.text(st.characters(exclude_categories=()))


def check(
    name="An app",
    description="",
    image_url="",
    redirect_uris=(CALLBACK,),
    resource_server=False,
    ssl_only=True,
):
    check_client(name, description, image_url, redirect_uris, resource_server, ssl_only)


# Names and texts.


@pytest.mark.parametrize(
    "name",
    ["a", "An app", "Bücher & <b>Co</b>", "名前", pytest.param("a" * MAX_NAME_LENGTH, id="longest")],
)
def test_a_readable_name_is_accepted(name):
    check_name(Message("a client's name"), name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "\ta",
        "a\n",
        "\u3000a",
        pytest.param("a" * (MAX_NAME_LENGTH + 1), id="too-long"),
        pytest.param("é" * (MAX_NAME_LENGTH // 2 + 1), id="too-many-bytes"),
    ],
)
def test_an_empty_padded_or_overlong_name_is_refused(name):
    """DB-02, DB-04: lengths are those of UTF-8"""
    with pytest.raises(RegistrationError, match=r"^a client's name must have 1 to 255 bytes"):
        check_name(Message("a client's name"), name)


@pytest.mark.parametrize("character", [*UNPRINTABLE, "\n", "\r"])
def test_a_name_with_unprintable_characters_is_refused(character):
    """UI-19, AD-06, DB-03"""
    with pytest.raises(RegistrationError, match="printable"):
        check_name(Message("a user's name"), f"a{character}b")


@pytest.mark.parametrize(
    "text", ["", "One\r\ntwo\tthree", "Ünïcode", pytest.param("x" * MAX_TEXT_LENGTH, id="longest")]
)
def test_a_text_of_several_lines_is_accepted(text):
    check_text(Message("a description"), text)


def test_an_overlong_text_is_refused():
    """UI-19"""
    with pytest.raises(RegistrationError, match="a description has at most"):
        check_text(Message("a description"), "x" * (MAX_TEXT_LENGTH + 1))


@pytest.mark.parametrize("character", UNPRINTABLE)
def test_a_text_with_unprintable_characters_is_refused(character):
    """UI-19, AD-06, DB-03"""
    with pytest.raises(RegistrationError, match="printable"):
        check_text(Message("a description"), f"a{character}b")


# Clients.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://app.example/logo.png",
        "https://app.example:8443/a?b=c#d",
        "https://[::1]/x",
        "HTTPS://app.example",
        pytest.param("https://app.example/".ljust(MAX_URI_LENGTH, "a"), id="longest"),
    ],
)
def test_an_image_at_an_https_address_is_accepted(url):
    check_image_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/logo.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "//app.example/logo.png",
        "logo.png",
        "https://",
        "https:///logo.png",
        "https://[::1/logo.png",
        " https://app.example/",
        "https://app.example/a b",
        "https://app.example/a\nb",
        'https://app.example/"onerror=alert(1)',
        "https://app.example/'x",
        "https://app.example/<x>",
        "https://app.example\\@evil.example/",
        "https://app.example/\x00",
        "https://app.example/\u202e",
        pytest.param("https://app.example/".ljust(MAX_URI_LENGTH + 1, "a"), id="too-long"),
    ],
)
def test_any_other_image_is_refused(url):
    """UI-19"""
    with pytest.raises(RegistrationError, match="image"):
        check_image_url(url)


def test_a_client_with_redirect_uris_is_accepted():
    check()
    check(description="What it does", image_url="https://app.example/logo.png")
    check(redirect_uris=tuple(f"{CALLBACK}{number}" for number in range(MAX_REDIRECT_URIS)))


def test_a_client_without_redirect_uri_is_refused_unless_it_is_a_resource_server():
    """INTERFACE: a resource server needs no redirect URI"""
    with pytest.raises(RegistrationError, match="at least one redirect URI"):
        check(redirect_uris=())
    check(redirect_uris=(), resource_server=True)
    check(resource_server=True)


def test_a_redirect_uri_is_registered_once():
    with pytest.raises(RegistrationError, match="once"):
        check(redirect_uris=(CALLBACK, CALLBACK))
    check(redirect_uris=(CALLBACK, CALLBACK + "/"))


def test_too_many_redirect_uris_are_refused():
    with pytest.raises(RegistrationError, match="at most"):
        check(redirect_uris=tuple(f"{CALLBACK}{number}" for number in range(MAX_REDIRECT_URIS + 1)))


@pytest.mark.parametrize("resource_server", [False, True])
def test_every_redirect_uri_is_judged(resource_server):
    """RU-04, RU-13"""
    with pytest.raises(RegistrationError, match="user information"):
        check(redirect_uris=(CALLBACK, "https://evil@app.example/cb"), resource_server=resource_server)


def test_a_redirect_uri_that_is_registered_already_is_not_judged_again():
    """A client from before a rule was made can still be changed; a new URI follows the rule."""
    old, new = CALLBACK + "?state=x", CALLBACK + "?code=x"
    check_client("An app", "", "", (old, CALLBACK), False, True, registered=(old,))
    with pytest.raises(RegistrationError, match="parameter code"):
        check_client("An app", "", "", (old, new), False, True, registered=(old,))


def test_an_issuer_is_judged_as_an_issuer():
    with pytest.raises(ConfigurationError, match="the issuer is"):
        check_issuer("https://as.example/?state=x", True)


def test_an_http_redirect_uri_is_accepted_only_without_ssl_only():
    with pytest.raises(RegistrationError, match="https"):
        check(redirect_uris=("http://app.example/cb",))
    check(redirect_uris=("http://app.example/cb",), ssl_only=False)


@pytest.mark.parametrize(
    ("field", "wrong"), [("name", ""), ("description", "\x00"), ("image_url", "http://app.example/")]
)
def test_every_field_of_a_client_is_judged(field, wrong):
    with pytest.raises(RegistrationError):
        check(**{field: wrong})


# Scopes and users.


@pytest.mark.parametrize("name", ["user_info", "a" * 255, "!#[]~"])
def test_a_scope_token_is_accepted_as_a_scope(name):
    check_scope(name, "Your name and address")


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a\\b", "a\tb", "a\n", "é", "a" * 256])
def test_a_scope_that_cannot_be_asked_for_is_refused(name):
    """AZ-21, BG-12"""
    with pytest.raises(RegistrationError, match="a scope's name"):
        check_scope(name, "")


def test_the_description_of_a_scope_is_judged():
    with pytest.raises(RegistrationError, match="a scope's description"):
        check_scope("verify", "\u202e")


def test_a_user_may_be_known_by_name_alone():
    check_user("peter", "", "", "")
    check_user("peter@app.example", "peter@app.example", "Peter", "Dåwns")
    check_user(*["a" * MAX_NAME_LENGTH] * 4)


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize(
    "wrong", ["\x00", "a\nb", pytest.param("a" * (MAX_NAME_LENGTH + 1), id="too-long"), "\u202e"]
)
def test_every_field_of_a_user_is_judged(position, wrong):
    """UI-19, DB-04"""
    fields = ["peter", "", "", ""]
    fields[position] = wrong
    with pytest.raises(RegistrationError, match=["name", "email", "first name", "last name"][position]):
        check_user(*fields)


def test_a_user_without_a_name_is_refused():
    with pytest.raises(RegistrationError, match="a user's name"):
        check_user("", "peter@app.example", "Peter", "Downs")


@pytest.mark.parametrize(
    "password",
    [
        "8 letter",
        " " * 8,
        "correct horse",
        "\x00" * 8,
        pytest.param("é" * MAX_PASSWORD_LENGTH, id="longest"),
    ],
)
def test_any_password_of_bearable_length_is_accepted(password):
    check_password(password, "alice")


@pytest.mark.parametrize("password", ["", pytest.param("x" * (MAX_PASSWORD_LENGTH + 1), id="too-long")])
def test_an_empty_or_overlong_password_is_refused(password):
    with pytest.raises(RegistrationError, match="password") as caught:
        check_password(password, "alice")
    assert "xx" not in str(caught.value)


@given(anything)
def test_anything_is_accepted_or_refused_in_one_line(text):
    """AD-06, LG-03"""
    for judge in (
        lambda: check_name(Message("a name"), text),
        lambda: check_text(Message("a text"), text),
        lambda: check_image_url(text),
        lambda: check_client(text, text, text, (text,), False, True),
        lambda: check_scope(text, text),
        lambda: check_user(text, text, text, text),
        lambda: check_password(text, text),
        lambda: check_issuer(text, True),
    ):
        try:
            judge()
        except (RegistrationError, ConfigurationError) as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


@given(anything.filter(bool))
def test_what_is_accepted_can_be_kept_and_shown(text):
    """DB-03"""
    for judge in (
        lambda: check_name(Message("a name"), text),
        lambda: check_text(Message("a text"), text),
        lambda: check_image_url(text),
        lambda: check_scope(text, ""),
    ):
        try:
            judge()
        except RegistrationError:
            continue
        assert text.encode("utf-8")
        assert "\x00" not in text


# The issuer.


@pytest.mark.parametrize(
    "issuer",
    [
        "https://example.com",
        "https://example.com/",
        "https://localhost:8443",
        "https://example.com/oauth/tenant",
    ],
)
def test_an_https_address_is_accepted_as_issuer(issuer):
    """MD-01"""
    check_issuer(issuer, True)


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "example.com",
        "http://example.com",
        "https://example.com?x",
        "https://example.com/?",
        "https://example.com/#x",
        "https://user@example.com",
        "https://example.com/a b",
        "https://example.com/..",
        "ftp://example.com",
    ],
)
def test_any_other_issuer_is_refused(issuer):
    """MD-01"""
    with pytest.raises(ConfigurationError, match="the issuer is") as caught:
        check_issuer(issuer, True)
    assert repr(issuer) in str(caught.value)


def test_an_http_issuer_is_accepted_only_without_ssl_only():
    check_issuer("http://localhost:8080", False)
    with pytest.raises(ConfigurationError):
        check_issuer("http://localhost:8080/?x", False)


# What the consent page says about a client.


def test_a_client_need_not_tell_who_has_made_it():
    check_about("", "", "")
    check_about("https://app.example/", "https://app.example/privacy?a=b#c", "Müller & Söhne")


@pytest.mark.parametrize(
    "url",
    ["http://app.example/", "javascript:alert(1)", "app.example", "https://", "https://a.example/ b"],
)
def test_an_address_that_a_page_must_not_link_to(url):
    """UI-19"""
    for about in ((url, "", ""), ("", url, "")):
        with pytest.raises(RegistrationError, match="https address"):
            check_about(*about)


@pytest.mark.parametrize("name", [" a", "a\nb", "x" * 256, "\u202e"])
def test_a_developer_has_a_name_that_can_be_read(name):
    with pytest.raises(RegistrationError, match="a client's developer"):
        check_about("", "", name)
