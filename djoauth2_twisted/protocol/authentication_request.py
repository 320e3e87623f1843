"""Authentication requests: what OpenID Connect adds to an authorization request (Core 1.0, 3.1.2.1).

``display``, ``claims_locales``, ``acr_values`` and ``claims`` are accepted and have no effect: there is
one kind of page and one kind of login, and `protocol.metadata` says that ``claims`` is not supported.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..errors import InvalidRequest
from ..parameters import Parameters
from .openid_scopes import OPENID

#: The longest ``nonce``, in characters. It is repeated in the ID token.
MAX_NONCE_LENGTH = 1000

#: The longest ``id_token_hint``, in characters. Ours are far shorter.
MAX_HINT_LENGTH = 4000

#: How many languages of ``ui_locales`` are looked at.
MAX_LOCALES = 10

#: The values of ``prompt``. Others are ignored.
PROMPTS = frozenset({"none", "login", "consent", "select_account"})

_MAX_AGE = re.compile(r"[0-9]{1,12}")

# RFC 5646, section 2.1: subtags of letters and digits, joined by hyphens.
_LANGUAGE = re.compile(r"[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}")


@frozen
class AuthenticationRequest:
    """How the client wants the user to be authenticated.

    :param prompts: what ``prompt`` names of `PROMPTS`.
    :param max_age: the greatest age of the user's login, in seconds; None: any.
    """

    prompts: frozenset[str] = frozenset()
    max_age: int | None = None
    nonce: str | None = None
    login_hint: str | None = None
    ui_locales: tuple[str, ...] = ()
    id_token_hint: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether no page may be shown (``prompt=none``)."""
        return "none" in self.prompts

    def bound(self) -> list[object]:
        """The values that a consent form is bound to, as JSON can hold them."""
        return [sorted(self.prompts), self.max_age, self.nonce, self.login_hint, self.id_token_hint]


def hints_of(parameters: Parameters) -> tuple[str, tuple[str, ...]]:
    """What a request says to the login page: the name to be filled in, and the languages.

    Both are empty if the request is not an authentication request.
    """
    if not names_openid(parameters):
        return "", ()
    return parameters.get("login_hint") or "", locales(parameters.get("ui_locales"))


def names_openid(parameters: Parameters) -> bool:
    """Whether the scope of a request names ``openid``."""
    return OPENID in (parameters.get("scope") or "").split(" ")


def read(parameters: Parameters) -> AuthenticationRequest:
    """Read the parameters of an authentication request.

    :raises InvalidRequest: ``prompt``, ``max_age``, ``nonce`` or ``id_token_hint`` is malformed.
    """
    hint = parameters.get("id_token_hint")
    if hint is not None and (len(hint) > MAX_HINT_LENGTH or not hint.isascii()):
        raise InvalidRequest("id_token_hint is malformed")
    return AuthenticationRequest(
        prompts=_prompts(parameters.get("prompt")),
        max_age=_max_age(parameters.get("max_age")),
        nonce=_nonce(parameters.get("nonce")),
        login_hint=parameters.get("login_hint"),
        ui_locales=locales(parameters.get("ui_locales")),
        id_token_hint=hint,
    )


def _prompts(text: str | None) -> frozenset[str]:
    named = frozenset((text or "").split())
    # "If this parameter contains none with any other value, an error is returned."
    if "none" in named and len(named) > 1:
        raise InvalidRequest("prompt must not name none with another value")
    return named & PROMPTS


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not _MAX_AGE.fullmatch(text):
        raise InvalidRequest("max_age must be a number of seconds")
    return int(text)


def _nonce(text: str | None) -> str | None:
    # It is stored, and sent back in JSON. A lone surrogate stands for a byte that is not UTF-8.
    if text is not None and (len(text) > MAX_NONCE_LENGTH or not text.isprintable()):
        raise InvalidRequest("nonce is malformed or too long")
    return text


def locales(text: str | None) -> tuple[str, ...]:
    """The language tags of a ``ui_locales``, the preferred one first. What is not a tag is left out."""
    named = (text or "").split()[:MAX_LOCALES]
    return tuple(tag for tag in named if _LANGUAGE.fullmatch(tag))


def demands_login(
    asked: AuthenticationRequest, auth_time: int | None, now: int, has_logged_in: bool
) -> bool:
    """Whether a user who is logged in must log in again.

    :param auth_time: when the user logged in, in seconds since the epoch; None if that is not known.
    :param has_logged_in: whether the user has logged in for this very request.
    """
    if has_logged_in:
        return False
    if "login" in asked.prompts:
        # "The Authorization Server SHOULD prompt the End-User for reauthentication."
        return True
    if asked.max_age is None:
        return False
    # "If the elapsed time is greater than this value, the OP MUST attempt to actively re-authenticate
    # the End-User." A max_age of 0 asks for a login always, as prompt=login does.
    return asked.max_age == 0 or auth_time is None or now - auth_time > asked.max_age
