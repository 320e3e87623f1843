"""What was typed into a form of a login that was over: it waits for the same user to log in again.

It waits in a cookie, sealed with the secret of the browser that it was typed in. The login gives the
browser a new secret, and seals it anew where the user is the same. So a page is filled in with nothing
but what this user typed into this page, in this browser, a short time ago; no address has any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from twisted.web.iweb import IRequest

from .respond import Response
from .sessions import Browser, Sessions

#: How long it waits, in seconds.
TYPED_LIFETIME = 900

_NAME = "typed"


def keep_typed(
    sessions: Sessions,
    response: Response,
    browser: Browser,
    username: str,
    page: str,
    values: Mapping[str, str],
) -> Response:
    """The way to the login, with what was typed.

    :param username: who was logged in, as the form proves.
    :param page: the name of the page that it was typed into.
    """
    until = int(sessions.clock.seconds()) + TYPED_LIFETIME
    typed = json.dumps([username, page, until, values])
    return sessions.flash(response, browser, _NAME, typed, TYPED_LIFETIME)


def carry_over(
    sessions: Sessions, request: IRequest, response: Response, before: Browser, after: Browser
) -> Response:
    """The answer to a login, with what its user had typed before it."""
    typed = sessions.flashed(request, before, _NAME)
    if not typed:
        return response
    if after.owner is None or json.loads(typed)[0] != after.owner.username:
        return sessions.forget(response, _NAME)
    return sessions.flash(response, after, _NAME, typed, TYPED_LIFETIME)


def find_typed(
    sessions: Sessions, request: IRequest, browser: Browser, username: str, page: str
) -> Mapping[str, str] | None:
    """What a user had typed into a page, or None."""
    typed = sessions.flashed(request, browser, _NAME)
    if not typed:
        return None
    values: Mapping[str, str]
    whose, where, until, values = json.loads(typed)
    is_meant = (whose, where) == (username, page) and sessions.clock.seconds() < until
    return values if is_meant else None


def forget_typed(sessions: Sessions, response: Response) -> Response:
    """The page that shows what was typed, and is the last to."""
    return sessions.forget(response, _NAME)
