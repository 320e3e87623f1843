"""The rules for registered clients, scopes and users.

A ``check`` function raises `RegistrationError` for a value that breaks its rule.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigurationError, FieldErrors, RegistrationError, at_field
from ..messages import Message
from ..models import Client, Image, User
from . import precis, scopes
from .common_passwords import COMMON_PASSWORDS
from .precis import MAX_NAME_LENGTH, MAX_PASSWORD_LENGTH
from .redirection import MAX_URI_LENGTH, check_absolute_uri, check_redirect_uri

MAX_TEXT_LENGTH = 4000

#: NIST SP 800-63B, section 5.1.1.2: "Verifiers SHALL require subscriber-chosen memorized secrets to be
#: at least 8 characters in length."
MIN_PASSWORD_LENGTH = 8
MAX_REDIRECT_URIS = 50

#: The algorithms for ID tokens (RFC 7518, section 3.1), the default first.
ID_TOKEN_ALGORITHMS = ("RS256", "ES256")

#: The largest picture of a client, in bytes. Pictures are stored in the database.
MAX_IMAGE_SIZE = 16 * 1024

#: How long a client may have two valid secrets, in seconds.
MAX_OVERLAP = 30 * 86400

_CLIENT_NAME = Message("a client's name")
_CLIENT_DEVELOPER = Message("a client's developer")
_CLIENT_DESCRIPTION = Message("a client's description")
_SCOPE_DESCRIPTION = Message("a scope's description")
_USER_NAME = Message("a user's name")
_EMAIL = Message("a user's email")
_FIRST_NAME = Message("a user's first name")
_LAST_NAME = Message("a user's last name")
_PASSWORD = Message("a password")

_UNPRINTABLE = Message("%(what)s must consist of printable characters")
_TOO_LONG = Message("%(what)s has at most %(most)s characters")

# The first bytes of each file type. SVG is not allowed, because it may contain links and scripts.
_IMAGE_TYPES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}


def check_name(what: Message, name: str) -> None:
    """Refuse a name of a client or user that people cannot read or type."""
    if not name or name != name.strip() or len(name.encode("utf-8", "replace")) > MAX_NAME_LENGTH:
        text = Message("%(what)s must have 1 to %(most)s bytes and no white space around it")
        raise RegistrationError(text.filled(what=what, most=MAX_NAME_LENGTH))
    if not name.isprintable():
        raise RegistrationError(_UNPRINTABLE.filled(what=what))


def check_text(what: Message, text: str) -> None:
    """Refuse a text that is too long or not printable."""
    if len(text) > MAX_TEXT_LENGTH:
        raise RegistrationError(_TOO_LONG.filled(what=what, most=MAX_TEXT_LENGTH))
    if any(not c.isprintable() and c not in "\r\n\t" for c in text):
        raise RegistrationError(_UNPRINTABLE.filled(what=what))


def check_image_url(url: str) -> None:
    """Refuse an image URL that is not https."""
    if url and not is_link(url):
        raise RegistrationError(Message("the image's URL must be https"))


def check_about(homepage_url: str, privacy_url: str, developer: str) -> None:
    """Refuse addresses that a page cannot link to, and a developer's name that cannot be read."""
    errors = FieldErrors()
    for field, url in (("homepage_url", homepage_url), ("privacy_url", privacy_url)):
        with errors.of(field):
            if url and not is_link(url):
                raise RegistrationError(Message("a homepage and a privacy policy have an https address"))
    with errors.of("developer"):
        if developer:
            check_name(_CLIENT_DEVELOPER, developer)
    errors.raise_all()


def is_link(url: str) -> bool:
    """Whether a page may link to a URL: it is https, with a host, and without spaces and quotes."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    good = parts.scheme == "https" and parts.hostname and not re.search(r"[\s\"'<>\\\x00-\x1f]", url)
    return bool(good) and url.isprintable() and len(url) <= MAX_URI_LENGTH


@at_field("image")
def image_of(content: bytes) -> Image:
    """A picture. Its type is recognized from its first bytes, not from a file name.

    :raises RegistrationError: it is larger than `MAX_IMAGE_SIZE`, or of another type.
    """
    if len(content) > MAX_IMAGE_SIZE:
        text = Message("a picture has at most %(most)s KiB")
        raise RegistrationError(text.filled(most=MAX_IMAGE_SIZE // 1024))
    for media_type, beginning in _IMAGE_TYPES.items():
        if beginning.match(content):
            return Image(media_type, content)
    raise RegistrationError(Message("a picture must be PNG, JPEG, GIF or WebP"))


def check_overlap(seconds: int) -> None:
    """Refuse to keep an old secret valid for longer than `MAX_OVERLAP`, in seconds."""
    if not 0 <= seconds <= MAX_OVERLAP:
        text = Message("an old secret is kept for 0 to %(most)s seconds")
        raise RegistrationError(text.filled(most=MAX_OVERLAP))


def check_client(
    name: str,
    description: str,
    image_url: str,
    redirect_uris: tuple[str, ...],
    resource_server: bool,
    ssl_only: bool,
    registered: Collection[str] = (),
) -> None:
    """Refuse a client that cannot be registered (RFC 6749, section 2).

    It raises the errors of all fields together.

    :param registered: the redirect URIs that it has already. They are not checked again, so that a
        client that is older than a rule can still be changed or disabled.
    """
    errors = FieldErrors()
    with errors.of("name"):
        check_name(_CLIENT_NAME, name)
    with errors.of("description"):
        check_text(_CLIENT_DESCRIPTION, description)
    with errors.of("image_url"):
        check_image_url(image_url)
    with errors.of("redirect_uris"):
        _check_redirect_uris(redirect_uris, resource_server, ssl_only, registered)
    errors.raise_all()


def _check_redirect_uris(
    redirect_uris: tuple[str, ...], resource_server: bool, ssl_only: bool, registered: Collection[str]
) -> None:
    if len(redirect_uris) > MAX_REDIRECT_URIS or len(set(redirect_uris)) != len(redirect_uris):
        text = Message("give each redirect URI once, and at most %(most)s")
        raise RegistrationError(text.filled(most=MAX_REDIRECT_URIS))
    # RFC 6749, section 3.1.2.2: "The authorization server SHOULD require all clients to register
    # their redirection endpoint prior to utilizing the authorization endpoint."
    if not redirect_uris and not resource_server:
        raise RegistrationError(Message("a client needs at least one redirect URI"))
    for uri in redirect_uris:
        if uri not in registered:
            check_redirect_uri(uri, ssl_only)


def check_scope(name: str, description: str) -> None:
    """Refuse a scope whose name or description is not valid (RFC 6749, section 3.3)."""
    errors = FieldErrors()
    with errors.of("name"):
        _check_scope_name(name)
    with errors.of("description"):
        check_text(_SCOPE_DESCRIPTION, description)
    errors.raise_all()


def check_allowed(names: Collection[str], known: Collection[str]) -> None:
    """Refuse scopes of a client that are not registered."""
    for name in names:
        if name not in known:
            raise RegistrationError(Message("there is no scope %(name)s").filled(name=repr(name)))


def _check_scope_name(name: str) -> None:
    if not scopes.is_scope_token(name):
        raise RegistrationError(
            Message(
                "a scope's name must have 1 to 255 ASCII characters without space, quote or backslash"
            )
        )


def is_subject(subject: str) -> bool:
    """Whether a text can be a subject: printable ASCII, and no longer than a name."""
    # OpenID Connect Core 1.0, section 2: "It MUST NOT exceed 255 ASCII characters in length."
    return subject.isascii() and subject.isprintable() and 0 < len(subject) <= MAX_NAME_LENGTH


def is_time(value: object) -> bool:
    """Whether a value is a time in whole seconds since the epoch, or None."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value is None or (whole and 0 <= value < 2**63)  # type: ignore[operator]


def with_changes(user: User, changes: Mapping[str, Any], now: int) -> User:
    """A user with other fields. A new email address is not verified, unless the change says so.

    :param now: in seconds since the epoch.
    """
    changed = attrs.evolve(user, **changes)
    if changed.email != user.email and "email_verified" not in changes:
        changed = attrs.evolve(changed, email_verified=False)
    profile = operator.attrgetter("first_name", "last_name", "email", "email_verified")
    return changed if profile(changed) == profile(user) else attrs.evolve(changed, updated_at=now)


def check_verified(user: User) -> None:
    """Refuse to mark an address as verified where there is none."""
    if user.email_verified and not user.email:
        raise RegistrationError(Message("there is no email address that could be verified"))


def check_registration(client: Client, ssl_only: bool, known: Client | None = None) -> None:
    """Refuse a client that cannot be registered.

    :param known: the client as it is registered. Its addresses are not checked again.
    """
    errors = FieldErrors()
    with errors.of():
        check_client(
            client.name,
            client.description,
            client.image_url,
            client.redirect_uris,
            client.resource_server,
            ssl_only,
            () if known is None else known.redirect_uris,
        )
    with errors.of():
        check_about(client.homepage_url, client.privacy_url, client.developer)
    with errors.of():
        _check_openid_client(client, ssl_only, known)
    errors.raise_all()


def _check_openid_client(client: Client, ssl_only: bool, known: Client | None) -> None:
    errors = FieldErrors()
    with errors.of("id_token_alg"):
        if client.id_token_alg not in ID_TOKEN_ALGORITHMS:
            text = Message("ID tokens are signed with %(algorithms)s")
            raise RegistrationError(text.filled(algorithms=" or ".join(ID_TOKEN_ALGORITHMS)))
    with errors.of("post_logout_redirect_uris"):
        uris = client.post_logout_redirect_uris
        if len(uris) > MAX_REDIRECT_URIS or len(set(uris)) != len(uris):
            text = Message("give each redirect URI once, and at most %(most)s")
            raise RegistrationError(text.filled(most=MAX_REDIRECT_URIS))
        for uri in uris:
            if known is None or uri not in known.post_logout_redirect_uris:
                check_redirect_uri(uri, ssl_only, ("state",))
    with errors.of("backchannel_logout_uri"):
        uri = client.backchannel_logout_uri
        if uri and (known is None or uri != known.backchannel_logout_uri):
            check_absolute_uri(uri, ssl_only)
    errors.raise_all()


def check_user(username: str, email: str, first_name: str, last_name: str) -> None:
    """Refuse a user whose name or details are malformed or too long."""
    errors = FieldErrors()
    with errors.of("username"):
        check_name(_USER_NAME, username)
    with errors.of("email"):
        _check_detail(_EMAIL, email)
    with errors.of("first_name"):
        _check_detail(_FIRST_NAME, first_name)
    with errors.of("last_name"):
        _check_detail(_LAST_NAME, last_name)
    errors.raise_all()


def check_profile(user: User) -> None:
    """Refuse a user whose fields are malformed, or whose email address cannot be verified."""
    errors = FieldErrors()
    with errors.of():
        check_user(user.username, user.email, user.first_name, user.last_name)
    with errors.of("email_verified"):
        check_verified(user)
    errors.raise_all()


def check_new_user(user: User, password: str) -> None:
    """Refuse a new user, with the errors of all fields and of the password."""
    errors = FieldErrors()
    with errors.of():
        check_profile(user)
    with errors.of():
        check_password(password, user.username)
    errors.raise_all()


def _check_detail(what: Message, text: str) -> None:
    if len(text) > MAX_NAME_LENGTH or not (text.isprintable() or not text):
        message = Message("%(what)s has at most %(most)s printable characters")
        raise RegistrationError(message.filled(what=what, most=MAX_NAME_LENGTH))


@at_field("password")
def check_password(password: str, username: str) -> None:
    """Refuse a new password that is too short, too long or easy to guess (NIST SP 800-63B, 5.1.1.2).

    Any characters are allowed. A password that was set before this rule is still good for a login.
    """
    password = precis.password(password)
    if len(password) < MIN_PASSWORD_LENGTH:
        text = Message("a password has at least %(least)s characters")
        raise RegistrationError(text.filled(least=MIN_PASSWORD_LENGTH))
    if len(password) > MAX_PASSWORD_LENGTH:
        raise RegistrationError(_TOO_LONG.filled(what=_PASSWORD, most=MAX_PASSWORD_LENGTH))
    if precis.folded(password) == precis.folded(username):
        raise RegistrationError(Message("the password is the user's name: choose another"))
    if password.casefold() in COMMON_PASSWORDS:
        raise RegistrationError(Message("the password is one of the most common ones: choose another"))


def check_issuer(issuer: str, ssl_only: bool) -> None:
    """Refuse an issuer that RFC 8414, section 2, does not allow: "a URL that uses the "https" scheme
    and has no query or fragment components".

    :raises ConfigurationError: it is not such a URL.
    """
    try:
        check_absolute_uri(issuer, ssl_only)
    except RegistrationError:
        good = False
    else:
        good = "?" not in issuer
    if not good:
        raise ConfigurationError(
            f"the issuer is {issuer!r}: it must be an https URL without query and fragment, "
            "like https://example.com",
            "issuer",
        )
