"""The audit trail: how a row records an administrator's change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .events import Administered
from .models import Actor, Client, Event, User
from .printable import printable

#: The longest name or value in a row, in bytes. The rest is cut off.
MAX_DETAIL_LENGTH = 255

# Fields that are secret, or that the action already implies.
_LEFT_OUT = frozenset(
    {
        "secret_digest",
        "previous_secret_digest",
        "previous_secret_expires",
        "image_digest",
        "last_used",
        "password_hash",
        "subject",
        "updated_at",
    }
)


def event_of(
    key: str, time: int, actor: Actor, action: str, subject: str, details: Mapping[str, Any]
) -> Event:
    """A row of the audit trail.

    :param key: the id of the row.
    :param time: the time of the change, in milliseconds since the epoch.
    :param subject: the id or name of the client, scope, user or grant that is changed.
    :param details: the changed fields and their new values.
    """
    return Event(
        id=key,
        time=time,
        actor=_bounded(actor.name),
        action=action,
        subject=_bounded(subject),
        address=_bounded(actor.address),
        details={name: _bounded(_as_text(value)) for name, value in details.items()},
    )


def administered(row: Event) -> Administered:
    """The event of a new row of the audit trail."""
    return Administered(
        actor=row.actor,
        address=row.address,
        action=row.action,
        subject=row.subject,
        details=row.details,
    )


def changes(before: Client | User | None, after: Client | User) -> dict[str, Any]:
    """The fields that a change sets, and their new values.

    :param before: the value before the change; None for a new one, of which all fields count that are
        neither empty nor the default.
    """
    changed: dict[str, Any] = {}
    for each in attrs.fields(type(after)):
        value = getattr(after, each.name)
        known = each.default if before is None else getattr(before, each.name)
        if each.name not in _LEFT_OUT and value != known and (value or before is not None):
            changed[each.name] = value
    return changed


def changed_fields(before: Client | User, after: Client | User) -> set[str]:
    """The names of the fields in which two values differ."""
    names = (each.name for each in attrs.fields(type(after)))
    return {name for name in names if getattr(before, name) != getattr(after, name)}


def _as_text(value: Any) -> str:
    """A field's value as text."""
    match value:
        case None:
            return "any"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return " ".join(value)
        case _:
            return str(value)


def _bounded(text: str) -> str:
    """The beginning of a text, made printable."""
    beginning = printable(text[:MAX_DETAIL_LENGTH]).encode("utf-8")[:MAX_DETAIL_LENGTH]
    return beginning.decode("utf-8", "ignore")
