"""The page of the audit trail, its filters, and its export."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date, timedelta

import attrs
from attrs import frozen

from ...errors import RegistrationError
from ...messages import Message
from ...models import COMMAND_LINE, Event, Page
from ...paging import Key, newest_first
from ...protocol.precis import folded
from .. import respond
from ..respond import Response
from .admin_request import PAGE_SIZE, AdminRequest, key_of, moment, shown

#: The largest number of rows that are looked at for one page. Then the page offers to go on.
MAX_LOOKED_AT = 5_000

#: The largest number of rows in a file, and of those that are looked at for it.
MAX_EXPORTED = 10_000
MAX_LOOKED_AT_FOR_FILE = 200_000

#: The number of rows that are read in one step.
STEP = 500

#: What was changed, as the filter offers it. Everything else is `OTHER`.
NOUNS = ("client", "scope", "user", "grant")
OTHER = "other"

# The parameters of the filter in an address.
_FIELDS = ("who", "what", "since", "until")

# Times in a file (ISO 8601).
_ISO = "%Y-%m-%dT%H:%M:%SZ"

# A spreadsheet takes a cell that begins with one of these for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@frozen
class _Filter:
    """Which rows are wanted.

    :param who: a part of the name of who made the change, folded; empty for everyone.
    :param what: one of `NOUNS`, or `OTHER`; empty for everything.
    :param since: the time of the oldest row, in milliseconds since the epoch.
    :param until: the time that all rows are before; None for no limit.
    """

    who: str = ""
    what: str = ""
    since: int = 0
    until: int | None = None

    def passes(self, event: Event) -> bool:
        """Whether a row is wanted, by its actor and its action."""
        return self.who in folded(event.actor) and self.what in ("", _noun(event))


def _noun(event: Event) -> str:
    noun = event.action.partition(" ")[0].removesuffix("s")
    return noun if noun in NOUNS else OTHER


@frozen
class _Found:
    """Rows that pass a filter.

    :param reached: the key after which the search continues; empty if there are no more rows.
    """

    events: list[Event]
    reached: Key


async def _search(
    admin_request: AdminRequest, wanted: _Filter, after: Key, most: int, most_looked_at: int
) -> _Found:
    """Up to ``most`` rows that pass a filter, newest first.

    :param after: the key of the row before the first one; empty for the newest.
    """
    registry, looked_at = admin_request.administration.registry, 0
    found: list[Event] = []
    if wanted.until is not None:
        # The index is by time. So the rows after the last wanted day are not read.
        after = max(after, (wanted.until - 1, ""), key=_age) if after else (wanted.until - 1, "")
    while looked_at < most_looked_at:
        size = STEP if wanted.who or wanted.what else min(STEP, most - len(found) + 1)
        events: list[Event] = await registry.events(Page(size=size, after=after))
        for event in events:
            if event.time < wanted.since:
                return _Found(found, ())
            if wanted.passes(event):
                if len(found) == most:
                    return _Found(found, after)
                found.append(event)
            after = newest_first(event)
        if len(events) < size:
            return _Found(found, ())
        looked_at += size
    return _Found(found, after)


def _age(key: Key) -> tuple[int, str]:
    time, event_id = key
    return -int(time), str(event_id)


def _said(admin_request: AdminRequest) -> dict[str, str]:
    """The parameters of the filter in the request's address."""
    said = {name: (admin_request.query.get(name) or "").strip() for name in _FIELDS}
    return {name: value for name, value in said.items() if value}


def _filter(said: Mapping[str, str]) -> _Filter:
    """The filter in an address.

    :raises RegistrationError: a day is not a date.
    """
    since, until = (_midnight(name, said[name]) if name in said else None for name in ("since", "until"))
    what = said.get("what", "")
    return _Filter(
        who=folded(said.get("who", "")),
        what=what if what in NOUNS else OTHER if what else "",
        since=0 if since is None else since,
        until=None if until is None else until + 86_400_000,
    )


def _midnight(field: str, day: str) -> int:
    """The beginning of a day in UTC, in milliseconds since the epoch."""
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise RegistrationError(Message("write a day as 2026-11-29"), field=field) from None
    return (found - date(1970, 1, 1)) // timedelta(milliseconds=1)


async def show(admin_request: AdminRequest) -> Response:
    """Show the audit trail, newest row first."""
    said, after = _said(admin_request), admin_request.query.get("after") or ""
    found = _Found([], ())
    try:
        wanted = _filter(said)
    except RegistrationError as error:
        admin_request = attrs.evolve(admin_request, error=error)
    else:
        key = key_of(after, (int, str))
        after = after if key else ""
        found = await _search(admin_request, wanted, key, PAGE_SIZE, MAX_LOOKED_AT)
    return admin_request.show(
        "audit.html",
        # Times have seconds, so that the administrator finds a row in the access log, too.
        rows=[(moment(event.time // 1000, "%Y-%m-%d %H:%M:%S"), event) for event in found.events],
        abouts=await _abouts(admin_request, found.events),
        users=await _users(admin_request, found.events),
        pager=admin_request.pager_after_key(after, found.reached, **said),
        goes_on=bool(found.reached) and len(found.events) < PAGE_SIZE,
        search_action=admin_request.link("audit"),
        said={name: shown(said.get(name)) for name in _FIELDS},
        export=admin_request.link("audit/csv", **said),
        nouns=(*NOUNS, OTHER),
        command_line=COMMAND_LINE,
    )


@frozen
class _About:
    """What a row is about, in names that a reader knows.

    :param name: of the client, scope or user that was changed; empty for a grant, which has details.
    :param page: the administration page for it, or the empty string.
    :param details: the new values, by their names.
    """

    name: str
    page: str
    details: dict[str, str]


async def _abouts(admin_request: AdminRequest, events: list[Event]) -> dict[str, _About]:
    names: dict[str, str] = {}
    for event in events:
        for client_id in _client_ids(event):
            if client_id not in names:
                client = await admin_request.administration.registry.find_client(client_id)
                names[client_id] = client.name if client is not None else ""
    return {event.id: _about(event, names) for event in events}


async def _users(admin_request: AdminRequest, events: list[Event]) -> set[str]:
    """The actors who are users now. Another actor is a host application."""
    registry, users = admin_request.administration.registry, set()
    for actor in {event.actor for event in events if event.address != COMMAND_LINE}:
        if await registry.find_user(actor) is not None:
            users.add(actor)
    return users


def _client_ids(event: Event) -> list[str]:
    return [event.subject] if _noun(event) == "client" else [event.details.get("client", "any")]


def _about(event: Event, names: Mapping[str, str]) -> _About:
    noun, details = _noun(event), dict(event.details)
    if noun == "grant":
        client_id = details.get("client", "")
        details["client"] = names.get(client_id) or client_id
        return _About("", "", details)
    name = event.subject
    if noun == "client":
        # A deleted client is named by the row of its deletion.
        name = names.get(event.subject) or details.get("name") or event.subject
    details = {key: value for key, value in details.items() if value not in (event.subject, name)}
    return _About(name, noun if noun in NOUNS else "", details)


async def export(admin_request: AdminRequest) -> Response:
    """The rows that pass the filter, as a file of comma-separated values (RFC 4180)."""
    try:
        wanted = _filter(_said(admin_request))
    except RegistrationError:
        return await show(admin_request)
    found = await _search(admin_request, wanted, (), MAX_EXPORTED, MAX_LOOKED_AT_FOR_FILE)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("time", "actor", "address", "action", "subject", "details"))
    writer.writerows(map(_cells, found.events))
    if found.reached:
        writer.writerow(("", "", "", "there are more rows: choose fewer days", "", ""))
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="audit.csv"',
        **respond.NO_STORE,
    }
    content = text.getvalue().encode("utf-8", "replace")
    return respond.respond(admin_request.request, 200, headers, content)


def _cells(event: Event) -> list[str]:
    """A row of the file. No cell is a formula."""
    details = "; ".join(f"{name}={value}" for name, value in event.details.items())
    cells = [
        moment(event.time // 1000, _ISO),
        event.actor,
        event.address,
        event.action,
        event.subject,
        details,
    ]
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
