"""One request of an administrator, and the steps that all pages share."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs
from attrs import frozen
from markupsafe import Markup
from twisted.web.iweb import IRequest

from ...administration import Administration
from ...credentials import digest
from ...errors import AlreadyExists, ChangedMeanwhile, LastAdmin, NotAllEnded, RegistrationError
from ...interfaces import MAX_COUNTED
from ...key_ring import KeyRing
from ...messages import Message
from ...models import Actor, Client, Page, User
from ...paging import Key
from ...parameters import Parameters
from ...protocol import paths
from ...protocol.precis import MAX_NAME_LENGTH
from .. import respond
from ..mounting import IMount
from ..pages import Pages, hidden_fields
from ..reading import address_of, short_enough
from ..refusals import RecentRefusals
from ..respond import Response
from ..sessions import FORM_LIFETIME, Browser, Sessions
from ..statistics import Statistics
from ..translation import Sentence

_T = TypeVar("_T")

#: The number of entries on one page of a list.
PAGE_SIZE = 25

#: Makes the metadata of the authorization server (RFC 8414), for a request.
Metadata = Callable[[IRequest], Awaitable[Mapping[str, Any]]]

# Whole numbers in keys of entries are below this. Each store can keep them.
_MAX_NUMBER = 2**53

#: The field of a form that names the state of the object that the form shows.
VERSION = "version"

#: The field of a form that names its administrator.
ACTOR = "visitor"

# The name of the flash message that a change was made.
_DONE = "done"

#: The form of a request that sends none.
NOTHING = Parameters({})


class FormExpired(RegistrationError):
    """A form was made for another login, or too long ago."""

    def __init__(self) -> None:
        super().__init__(Message("this page has expired: please check what is here and send it again"))


@frozen
class AdminRequest:
    """A request of an administrator for a page.

    :param page: the page's address below ``/admin/``.
    :param metadata: makes the metadata of the server, with the addresses that clients need.
    :param form: the form that was sent; without values for GET.
    :param restored: the values that the user typed into this form before a login ended.
    :param upload: the content of the file that was sent.
    :param error: the reason why the sent form is shown again.
    :param ring: the keys that sign ID tokens; None without OpenID Connect.
    """

    request: IRequest
    page: str
    browser: Browser
    user: User
    query: Parameters
    sessions: Sessions
    pages: Pages
    administration: Administration
    statistics: Statistics
    refusals: RecentRefusals
    metadata: Metadata
    form: Parameters = NOTHING
    restored: Mapping[str, str] | None = None
    upload: bytes | None = None
    error: RegistrationError | None = None
    ring: KeyRing | None = None

    @property
    def id(self) -> str:
        """The id or name of the object that the page shows."""
        return self.query.get("id") or ""

    @property
    def now(self) -> int:
        """The time, in seconds since the epoch."""
        return int(self.administration.seconds())

    # The fields of forms.

    def values(self, names: tuple[str, ...], kept: Mapping[str, str]) -> dict[str, str]:
        """The fields of a form: as they were typed, or as they are kept. A box not ticked is empty.

        Typed values are shown again only if they come from our own page, so that no other page can fill
        in a form.
        """
        typed = self.restored or self.form.values
        is_ours = (
            self.restored is not None or self._nonce(lifetime=math.inf) or _is_same_origin(self.request)
        )
        if not typed or not is_ours or isinstance(self.error, ChangedMeanwhile):
            return {name: kept.get(name, "") for name in names}
        # A form without a version counts as one of the current state.
        typed = {VERSION: kept.get(VERSION, ""), **typed}
        return {name: shown(typed.get(name)) for name in names}

    def text(self, name: str) -> str:
        """The text of a field, with lines that end in ``\\n``."""
        return (self.form.get(name) or "").replace("\r\n", "\n")

    def ticked(self, name: str) -> bool:
        """Whether a box of the form is ticked."""
        return self.form.get(name) is not None

    # Permission for changes.

    def hidden(self, *bound: object, **fields: str) -> Markup:
        """The hidden fields of a form, which is valid for this login, this page and the bound values."""
        username = self.user.username
        token = self.sessions.form_token(self.browser, *bound_to(username, self.page, self.id), *bound)
        return hidden_fields(csrf_token=token, **{ACTOR: username}, **fields)

    def allowed(self, *bound: object, about: str = "") -> Administration:
        """The administration in this administrator's name, for one change.

        :param about: the object that is changed, if the form can be sent for several.
        :raises FormExpired: `hidden` did not make the form for the same login, page and values.
        """
        nonce = self._nonce(*bound)
        if nonce is None:
            raise FormExpired()
        actor = Actor(self.user.username, address_of(self.request))
        return attrs.evolve(
            self.administration,
            actor=actor,
            keep_admin=True,
            idempotency_key=f"{nonce}{about}"[:MAX_NAME_LENGTH],
            # So that one administrator's new passwords do not delay another's.
            hash_password=partial(self.administration.hash_password, key=self.user.username),
        )

    def _nonce(self, *bound: object, lifetime: float = FORM_LIFETIME) -> str | None:
        """The nonce of the sent form if `hidden` made it for the same login, page and values."""
        token, page = self.form.get("csrf_token"), bound_to(self.user.username, self.page, self.id)
        return self.sessions.check_form_token(self.browser, token, *page, *bound, lifetime=lifetime)

    def refuse_outdated(self, kept: Mapping[str, str]) -> None:
        """Refuse a form that would undo a change that another administrator made since it was shown.

        :param kept: the current state, as `versioned` makes it.
        :raises ChangedMeanwhile: the state has changed.
        :raises FormExpired: the form has no version.
        """
        version = self.form.get(VERSION)
        if version is None:
            raise FormExpired()
        fields = {name: value for name, value in kept.items() if name != VERSION}
        if version != kept[VERSION] and any(self.text(name) != value for name, value in fields.items()):
            raise ChangedMeanwhile()

    # Lists.

    async def page_of(
        self,
        entries: Callable[[Page], Awaitable[list[_T]]],
        key: Callable[[_T], Key],
        kinds: tuple[type, ...],
        **query: str,
    ) -> tuple[list[_T], dict[str, str]]:
        """A page of a list, and the addresses of the first and the next page.

        :param entries: reads the entries of a page.
        :param key: the key of an entry, by which the list is sorted.
        :param kinds: the types of a key's values.
        :param query: the other parameters of the addresses.
        """
        asked = self.query.get("after") or ""
        after = key_of(asked, kinds)
        found = await entries(Page(size=PAGE_SIZE + 1, after=after))
        reached = key(found[PAGE_SIZE - 1]) if len(found) > PAGE_SIZE else ()
        return found[:PAGE_SIZE], self.pager_after_key(asked if after else "", reached, **query)

    def pager_after_key(self, after: str, reached: Key, **query: str) -> dict[str, str]:
        """As `pager_after`, for a list that is sorted by a key."""
        return self.pager_after(after, json.dumps(reached) if reached else "", **query)

    def pager_after(self, after: str, reached: str, **query: str) -> dict[str, str]:
        """The addresses of a list whose pages each begin after an entry.

        :param after: the entry after which this page begins; empty for the first page.
        :param reached: the entry after which the next page begins; empty where there is none.
        """
        first = self.link(self.page, **query) if after else ""
        onward = self.link(self.page, **query, after=reached) if reached else ""
        return {"previous": "", "first": first, "next": onward}

    # Answers.

    def link(self, below: str, /, **query: str) -> str:
        """The address of a page.

        :raises InvalidRequest: it would be too long.
        """
        said = urlencode(query, errors="surrogateescape")
        path = f"{IMount(self.request).path}{paths.ADMIN}{below}{'/' if below else ''}"
        return short_enough(f"{path}?{said}" if said else path)

    def go(self, below: str, /, **query: str) -> Response:
        """Redirect to another page, which says that the change was made."""
        response = respond.redirect(self.request, self.link(below, **query))
        return self.sessions.flash(response, self.browser, _DONE, json.dumps([below, query]))

    def show(self, template: str, **context: Any) -> Response:
        """A page, with its message of success or error if there is one."""
        here = json.dumps([self.page, dict(self.query.values)])
        is_done = self.sessions.flashed(self.request, self.browser, _DONE) == here
        everything = {
            "here": self.page.partition("/")[0],
            "visitor": self.user.username,
            "openid": self.administration.settings.openid,
            "most_grants": self.administration.settings.max_grants_per_client,
            "form_action": self.link(self.page, **({"id": self.id} if self.id else {})),
            "restored": self.restored is not None,
            "done": is_done,
            "message": Sentence(self.error) if self.error else "",
            "errors": self._errors(),
            **context,
        }
        page = self.pages.page(
            self.request,
            f"admin/{template}",
            everything,
            self._status(),
            # The host application may ask for a login at another origin.
            leads_away=self.sessions.who is not None,
        )
        return self.sessions.forget(page, _DONE) if is_done else page

    def _errors(self) -> dict[str, Sentence]:
        """The errors of the sent form, by the names of its fields."""
        if self.error is None:
            return {}
        found: dict[str, Sentence] = {}
        for error in (self.error, *self.error.others):
            found.setdefault(error.field, Sentence(error))
        return found

    def _status(self) -> int:
        match self.error:
            case None:
                return 200
            case FormExpired():
                return 403
            case NotAllEnded():
                return 503
            case AlreadyExists() | LastAdmin() | ChangedMeanwhile():
                return 409
            case _:
                return 400


def key_of(text: str, kinds: tuple[type, ...]) -> Key:
    """The key of an entry, as an address has it; empty where it is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(values, list) or tuple(map(type, values)) != kinds:
        return ()
    too_large = any(isinstance(value, int) and not 0 <= value < _MAX_NUMBER for value in values)
    return () if too_large else tuple(values)


def bound_to(username: str, page: str, about: str) -> tuple[str, ...]:
    """The values that each form of an administrator's page is bound to."""
    return ("admin", username, page, about)


def _is_same_origin(request: IRequest) -> bool:
    """Whether the browser says that a request came from a page of this origin.

    No page can set this header (Fetch Metadata, section 2.3). It helps where the administrator has
    logged in again in another window, so that the form's token is no longer valid.
    """
    return bool(request.requestHeaders.getRawHeaders(b"sec-fetch-site") == [b"same-origin"])


def versioned(kept: Mapping[str, str]) -> dict[str, str]:
    """The fields of a form as they are kept, with a version that names this state."""
    return {**kept, VERSION: digest(json.dumps(kept)).hex()[:32]}


def changes(kept: Client | User, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The typed values that differ from the kept ones.

    Only these are changed, because another administrator may change the rest at the same time.
    """
    return {name: value for name, value in typed.items() if value != getattr(kept, name)}


def number(count: int) -> Message | str:
    """A count for a page. The registry counts no further than `MAX_COUNTED`."""
    return str(count) if count <= MAX_COUNTED else Message("more than 10,000")


def of_grants(count: int) -> Message:
    """The number of grants, in words."""
    if count > MAX_COUNTED:
        return Message("more than 10,000 grants")
    return Message("%(num)s grant", "%(num)s grants", count)


def grants_end(count: int) -> Message:
    """The number of grants that a deletion ends, in words."""
    if count > MAX_COUNTED:
        return Message("More than 10,000 grants end, with their codes and tokens.")
    return Message(
        "%(num)s grant ends at once, with its code and tokens.",
        "%(num)s grants end at once, with their codes and tokens.",
        count,
    )


def shown(typed: str | None) -> str:
    """A typed text as a page can show it: bytes that are not UTF-8 become question marks."""
    return (typed or "").encode("utf-8", "replace").decode("utf-8")


def moment(seconds: int, pattern: str = "%Y-%m-%d %H:%M") -> str:
    """A time in UTC, for people.

    :param seconds: since the epoch.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(pattern)
    except (OverflowError, OSError, ValueError):
        return str(seconds)
