"""One request of an administrator, and what every page does with it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs
from attrs import frozen
from klein import Response
from markupsafe import Markup

from ...administration import Administration
from ...credentials import digest
from ...errors import AlreadyExists, ChangedMeanwhile, LastAdmin, RegistrationError
from ...messages import Message
from ...models import Actor, Client, Page, User
from ...parameters import Parameters
from .. import respond
from ..pages import Pages, hidden_fields
from ..request import IMount, address_of
from ..sessions import Browser, Sessions
from ..tally import Tally
from ..translation import Sentence

_T = TypeVar("_T")

ENDPOINT = "/admin/"

#: Entries of a list on one page.
PAGE_SIZE = 25

#: No list is so long that anyone turns to a page beyond.
LAST_PAGE = 100_000

#: The field of a form that names the state of what it was made of.
VERSION = "version"

#: What a page is sent that is only looked at.
NOTHING = Parameters({})


class FormExpired(RegistrationError):
    """A form was not made for this login, or too long ago."""

    def __init__(self) -> None:
        super().__init__(Message("this page has expired: please check what is here and send it again"))


@frozen
class Visit:
    """An administrator on a page. ``page`` is its address below ``/admin/``.

    :param form: what was sent; without values where the page is only looked at.
    :param restored: what had been typed before a login was over, from the query.
    :param upload: the file that was sent.
    :param error: why the form that was sent is shown again.
    """

    request: Any
    page: str
    browser: Browser
    user: User
    query: Parameters
    sessions: Sessions
    pages: Pages
    administration: Administration
    tally: Tally
    form: Parameters = NOTHING
    restored: bool = False
    upload: bytes | None = None
    error: RegistrationError | None = None

    @property
    def id(self) -> str:
        """Whom the page is about."""
        return self.query.get("id") or ""

    @property
    def now(self) -> int:
        """The time, in seconds since the epoch."""
        return int(self.administration.seconds())

    # What was typed.

    def values(self, names: tuple[str, ...], kept: Mapping[str, str]) -> dict[str, str]:
        """The fields of a form: as they were typed, or as they are kept. A box not ticked is empty."""
        typed = self.query if self.restored else self.form
        if (self.restored or self.form.values) and not isinstance(self.error, ChangedMeanwhile):
            return {name: shown(typed.get(name)) for name in names}
        return {name: kept.get(name, "") for name in names}

    def text(self, name: str) -> str:
        """A field, with lines that end as everywhere else."""
        return (self.form.get(name) or "").replace("\r\n", "\n")

    def ticked(self, name: str) -> bool:
        """Whether a box was."""
        return self.form.get(name) is not None

    # What may be done.

    def hidden(self, *bound: object, **fields: str) -> Markup:
        """The hidden fields of a form that is good for this login, this page and what it is bound to."""
        token = self.sessions.form_token(self.browser, "admin", self.page, self.id, *bound)
        return hidden_fields(csrf_token=token, **fields)

    def allowed(self, *bound: object) -> Administration:
        """The administration in this administrator's name, for one change.

        :raises FormExpired: the form is not one that `hidden` made for the same.
        """
        sent = self.form.get("csrf_token")
        nonce = self.sessions.check_form_token(self.browser, sent, "admin", self.page, self.id, *bound)
        if nonce is None:
            raise FormExpired()
        actor = Actor(self.user.username, address_of(self.request))
        return attrs.evolve(
            self.administration,
            actor=actor,
            keep_admin=True,
            once=nonce,
            # So that one administrator's new passwords do not delay another's.
            hash_password=partial(self.administration.hash_password, place=self.user.username),
        )

    def refuse_outdated(self, kept: Mapping[str, str]) -> None:
        """Refuse a form that would bring back what another has changed since it was shown.

        :param kept: as `versioned` makes it, of what is kept now.
        :raises ChangedMeanwhile: that is so.
        """
        fields = {name: value for name, value in kept.items() if name != VERSION}
        is_outdated = self.form.get(VERSION) not in (None, kept[VERSION])
        if is_outdated and any(self.text(name) != value for name, value in fields.items()):
            raise ChangedMeanwhile()

    # Lists.

    @property
    def number(self) -> int:
        """Which page of a list is asked for, from 1 on."""
        asked = self.query.get("page") or ""
        good = asked.isascii() and asked.isdigit() and len(asked) < 7
        return min(max(int(asked), 1), LAST_PAGE) if good else 1

    async def part(
        self, entries: Callable[[Page], Awaitable[list[_T]]], **query: str
    ) -> tuple[list[_T], dict[str, str]]:
        """A page of a list, and the addresses of those before and after it.

        :param query: what else the addresses say.
        """
        number = self.number
        found = await entries(Page((number - 1) * PAGE_SIZE, PAGE_SIZE + 1))
        pager = {"previous": "", "next": ""}
        if number > 1:
            pager["previous"] = self.link(self.page, **query, page=str(number - 1))
        if len(found) > PAGE_SIZE:
            pager["next"] = self.link(self.page, **query, page=str(number + 1))
        return found[:PAGE_SIZE], pager

    # Answers.

    def link(self, below: str, /, **query: str) -> str:
        """The address of a page."""
        said = urlencode(query, errors="surrogateescape")
        path = f"{IMount(self.request).path}{ENDPOINT}{below}{'/' if below else ''}"
        return f"{path}?{said}" if said else path

    def go(self, below: str, /, **query: str) -> Response:
        """On to another page, which says that the change was made."""
        return respond.redirect(self.request, self.link(below, **query, done="yes"))

    def show(self, template: str, **context: Any) -> Response:
        """A page, with why its form is shown again, where that is so."""
        everything = {
            "here": self.page.partition("/")[0],
            "visitor": self.user.username,
            "form_action": self.link(self.page, **({"id": self.id} if self.id else {})),
            "restored": self.restored,
            "done": self.request.method == b"GET" and self.query.get("done") is not None,
            "message": Sentence(self.error) if self.error else "",
            **context,
        }
        return self.pages.page(self.request, f"admin/{template}", everything, self._status())

    async def show_list(
        self, template: str, name: str, entries: Callable[[Page, str], Awaitable[list[Any]]]
    ) -> Response:
        """A page of a list that can be searched.

        :param name: what the template calls the entries.
        """
        search = self.query.get("search") or ""

        async def part(page: Page) -> list[Any]:
            return await entries(page, search)

        found, pager = await self.part(part, **({"search": search} if search else {}))
        said = {"search_action": self.link(self.page), "search": shown(search)}
        return self.show(template, **{name: found}, pager=pager, **said)

    def _status(self) -> int:
        match self.error:
            case None:
                return 200
            case FormExpired():
                return 403
            case AlreadyExists() | LastAdmin() | ChangedMeanwhile():
                return 409
            case _:
                return 400


def versioned(kept: Mapping[str, str]) -> dict[str, str]:
    """The fields of a form as they are kept, and a name for this state of them."""
    return {**kept, VERSION: digest(json.dumps(kept)).hex()[:32]}


def changes(kept: Client | User, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed that differs from what is kept.

    No more is to be changed, because the rest may be changed by another at this moment.
    """
    return {name: value for name, value in typed.items() if value != getattr(kept, name)}


def shown(typed: str | None) -> str:
    """What was typed, as a page can show it: bytes that were no UTF-8 are question marks."""
    return (typed or "").encode("utf-8", "replace").decode("utf-8")


def moment(seconds: int, pattern: str = "%Y-%m-%d %H:%M") -> str:
    """A time for people, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(pattern)
    except (OverflowError, OSError, ValueError):
        return str(seconds)
