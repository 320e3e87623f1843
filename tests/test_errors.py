"""The errors that leave this server: names, statuses and descriptions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted import errors
from djoauth2_twisted.errors import (
    AlreadyExists,
    ConfigurationError,
    DJOAuthError,
    InsufficientScope,
    InvalidGrant,
    InvalidRequest,
    LastAdmin,
    MethodNotAllowed,
    MissingRedirectURI,
    NotFound,
    RegistrationError,
    TemporarilyUnavailable,
    TooManyRequests,
    get_error_details,
)

EVERY = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, DJOAuthError)
    ),
    key=lambda error: error.__name__,
)


@pytest.mark.parametrize(
    ("name", "error_name", "status"),
    [
        ("DJOAuthError", "server_error", 500),
        ("ServerError", "server_error", 500),
        ("InvalidRequest", "invalid_request", 400),
        ("MissingRedirectURI", "invalid_request", 400),
        ("MethodNotAllowed", "invalid_request", 405),
        ("NothingHere", "invalid_request", 404),
        ("ContentTooLarge", "invalid_request", 413),
        ("RequestNotSupported", "request_not_supported", 400),
        ("RequestURINotSupported", "request_uri_not_supported", 400),
        ("UnauthorizedClient", "unauthorized_client", 400),
        ("AccessDenied", "access_denied", 403),
        ("UnsupportedResponseType", "unsupported_response_type", 400),
        ("InvalidScope", "invalid_scope", 400),
        ("InvalidClient", "invalid_client", 401),
        ("InvalidGrant", "invalid_grant", 400),
        ("UnsupportedGrantType", "unsupported_grant_type", 400),
        ("MissingCredentials", "", 401),
        ("InvalidToken", "invalid_token", 401),
        ("InsufficientScope", "insufficient_scope", 403),
        ("TemporarilyUnavailable", "temporarily_unavailable", 503),
        ("TooManyRequests", "temporarily_unavailable", 429),
    ],
)
def test_an_error_has_the_name_and_status_of_the_standard(name, error_name, status):
    """RFC 6749, section 11.4; RFC 6750, section 6.2; INTERFACE, sections 3 and 4"""
    error = getattr(errors, name)
    assert error.error_name == error_name
    assert error.status_code == status


@pytest.mark.parametrize("error", EVERY)
def test_every_error_has_a_name_within_the_charset_and_a_status(error):
    """U-06"""
    assert re.fullmatch(r"[a-z_]*", error.error_name)
    assert 400 <= error.status_code <= 503


def test_the_details_of_an_error_are_its_name_and_description():
    assert get_error_details(InvalidGrant("it has expired")) == {
        "error": "invalid_grant",
        "error_description": "it has expired",
    }


def test_an_error_without_description_has_a_name_alone():
    assert get_error_details(InvalidGrant()) == {"error": "invalid_grant"}


def test_an_error_reads_as_its_description():
    assert str(InvalidGrant("it has expired")) == "it has expired"


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("plain ~ !#[]", "plain ~ !#[]"),
        ('"client_id" does not exist', "?client_id? does not exist"),
        ("a\\b", "a?b"),
        ("a\r\nb\tc\x00\x7f", "a??b?c??"),
        ("é\u202e\udcff", "???"),
    ],
)
def test_what_cannot_stand_in_a_description_is_replaced(text, description):
    """U-06"""
    assert InvalidRequest(text).description == description


@given(st.text(st.characters(exclude_categories=())))
def test_any_description_stays_within_the_charset(text):
    """U-06"""
    for error in (
        InvalidRequest(text),
        TemporarilyUnavailable(text),
        TooManyRequests(text),
        MethodNotAllowed(text),
    ):
        details = get_error_details(error)
        assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", details.get("error_description", ""))
        assert ("error_description" in details) == bool(error.description)
    assert len(InvalidRequest(text).description) == len(text)


def test_a_wrong_method_names_the_right_ones():
    """CA-21, AZ-03"""
    error = MethodNotAllowed("GET", "POST")
    assert error.allowed == ("GET", "POST")
    assert error.description == "the method must be GET or POST"
    assert MethodNotAllowed("POST").description == "the method must be POST"


def test_an_insufficient_scope_names_what_is_needed_apart_from_its_description():
    """BG-05"""
    error = InsufficientScope(("verify", "admin"))
    assert error.scopes == ("verify", "admin")
    assert "admin" not in error.description


def test_what_is_temporary_says_when_to_come_back():
    """CA-15, BG-17"""
    assert TemporarilyUnavailable().retry_after == 1
    assert TemporarilyUnavailable().description
    assert TooManyRequests("too many failures", retry_after=60).retry_after == 60


def test_an_unknown_redirect_uri_is_an_invalid_request_of_its_own():
    """AZ-07: so that one ``except`` keeps it from being sent to a client"""
    assert issubclass(MissingRedirectURI, InvalidRequest)
    others = [error for error in EVERY if issubclass(error, MissingRedirectURI)]
    assert others == [MissingRedirectURI]


def test_errors_of_operators_are_not_sent_to_clients():
    for error in (ConfigurationError, RegistrationError):
        assert not issubclass(error, DJOAuthError)
    assert issubclass(AlreadyExists, RegistrationError)
    assert issubclass(NotFound, RegistrationError)


@pytest.mark.parametrize("error", [AlreadyExists(), NotFound(), LastAdmin(), RegistrationError("so")])
def test_a_refusal_has_words(error: RegistrationError):
    """Also where another author's store gives none"""
    assert str(error) == str(error.message)
    assert error.message
