"""Keeps what a user typed into a form whose login had ended, until the same user logs in again.

The values wait in a cookie, sealed with the browser's secret. A login gives the browser a new secret,
and seals the values with it where the user is the same. So a page restores only what this user typed
into this page, in this browser, a short time ago. No address holds any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from twisted.web.iweb import IRequest

from .respond import Response
from .sessions import Browser, Sessions

#: How long the values wait, in seconds.
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
    """The redirect to the login page, with the typed values.

    :param username: the user who was logged in, as the form proves.
    :param page: the name of the page with the form.
    :param values: the typed values by the names of their fields.
    """
    until = int(sessions.clock.seconds()) + TYPED_LIFETIME
    typed = json.dumps([username, page, until, values])
    return sessions.flash(response, browser, _NAME, typed, TYPED_LIFETIME)


def carry_over(
    sessions: Sessions, request: IRequest, response: Response, before: Browser, after: Browser
) -> Response:
    """The answer to a login, with the values that the same user typed before it."""
    typed = sessions.flashed(request, before, _NAME)
    if not typed:
        return response
    if after.owner is None or json.loads(typed)[0] != after.owner.username:
        return sessions.forget(response, _NAME)
    return sessions.flash(response, after, _NAME, typed, TYPED_LIFETIME)


def find_typed(
    sessions: Sessions, request: IRequest, browser: Browser, username: str, page: str
) -> Mapping[str, str] | None:
    """The values that a user typed into a page before a login, or None."""
    typed = sessions.flashed(request, browser, _NAME)
    if not typed:
        return None
    values: Mapping[str, str]
    typed_by, typed_into, until, values = json.loads(typed)
    is_meant = (typed_by, typed_into) == (username, page) and sessions.clock.seconds() < until
    return values if is_meant else None


def forget_typed(sessions: Sessions, response: Response) -> Response:
    """The response, which removes the typed values from the browser."""
    return sessions.forget(response, _NAME)
