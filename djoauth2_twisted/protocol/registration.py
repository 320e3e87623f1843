"""What may be registered: clients, scopes and users, judged before anything is kept."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..errors import ConfigurationError, RegistrationError
from . import scopes
from .redirection import LONGEST_URI, check_redirect_uri

LONGEST_NAME = 255
LONGEST_TEXT = 4000
LONGEST_PASSWORD = 1024
MOST_REDIRECT_URIS = 50


def check_name(what: str, name: str) -> None:
    """Refuse a client's or user's name that nobody could read or type."""
    if not name or name != name.strip() or len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise RegistrationError(
            f"{what} must have 1 to {LONGEST_NAME} bytes and no white space around it"
        )
    if not name.isprintable():
        raise RegistrationError(f"{what} must consist of printable characters")


def check_text(what: str, text: str) -> None:
    """Refuse a text that is too long for a page or cannot be stored."""
    if len(text) > LONGEST_TEXT:
        raise RegistrationError(f"{what} has at most {LONGEST_TEXT} characters")
    if any(not c.isprintable() and c not in "\r\n\t" for c in text):
        raise RegistrationError(f"{what} must consist of printable characters")


def check_image_url(url: str) -> None:
    """Refuse an image that is not at a plain https address."""
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    good = parts.scheme == "https" and parts.hostname and not re.search(r"[\s\"'<>\\\x00-\x1f]", url)
    if not good or not url.isprintable() or len(url) > LONGEST_URI:
        raise RegistrationError("the image's URL must be https")


def check_client(
    name: str,
    description: str,
    image_url: str,
    redirect_uris: tuple[str, ...],
    resource_server: bool,
    ssl_only: bool,
) -> None:
    """Refuse a client that cannot be registered (RFC 6749, section 2)."""
    check_name("a client's name", name)
    check_text("a client's description", description)
    check_image_url(image_url)
    if len(redirect_uris) > MOST_REDIRECT_URIS or len(set(redirect_uris)) != len(redirect_uris):
        raise RegistrationError(f"give each redirect URI once, and at most {MOST_REDIRECT_URIS}")
    # RFC 6749, section 3.1.2.2: "The authorization server SHOULD require all clients to register
    # their redirection endpoint prior to utilizing the authorization endpoint."
    if not redirect_uris and not resource_server:
        raise RegistrationError("a client needs at least one redirect URI")
    for uri in redirect_uris:
        check_redirect_uri(uri, ssl_only)


def check_scope(name: str, description: str) -> None:
    """Refuse a scope that cannot be asked for."""
    if not scopes.is_scope_token(name):
        raise RegistrationError(
            "a scope's name must have 1 to 255 ASCII characters without space, quote or backslash"
        )
    check_text("a scope's description", description)


def check_user(username: str, email: str, first_name: str, last_name: str) -> None:
    """Refuse a user that cannot be kept."""
    check_name("a user's name", username)
    for what, text in (("email", email), ("first name", first_name), ("last name", last_name)):
        if len(text) > LONGEST_NAME or not (text.isprintable() or not text):
            raise RegistrationError(f"a user's {what} has at most {LONGEST_NAME} printable characters")


def check_password(password: str) -> None:
    """Refuse a password that would be none, or that takes too long to read."""
    if not password:
        raise RegistrationError("the password is empty")
    if len(password) > LONGEST_PASSWORD:
        raise RegistrationError(f"a password has at most {LONGEST_PASSWORD} characters")


def check_issuer(issuer: str, ssl_only: bool) -> None:
    """Refuse an issuer that RFC 8414, section 2, does not allow: "a URL that uses the "https" scheme
    and has no query or fragment components".

    :raises ConfigurationError: it is not such a URL.
    """
    try:
        check_redirect_uri(issuer, ssl_only)
    except RegistrationError:
        good = False
    else:
        good = "?" not in issuer
    if not good:
        raise ConfigurationError(
            f"the issuer is {issuer!r}: it must be an https URL without query and fragment, "
            "like https://example.com"
        )
