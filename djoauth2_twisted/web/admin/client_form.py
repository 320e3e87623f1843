"""The form of a client: its fields, and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...administration import Administration
from ...errors import FieldErrors, RegistrationError
from ...messages import Message
from ...models import Client
from ...protocol.registration import ID_TOKEN_ALGORITHMS
from ..reading import names_parameter
from .admin_request import VERSION, AdminRequest, versioned

#: What the consent page says about who has made the client.
ABOUT = ("homepage_url", "privacy_url", "developer")

#: The fields that are in the form with the setting ``OPENID``.
OPENID_FIELDS = ("id_token_alg", "post_logout_redirect_uris", "backchannel_logout_uri")

FIELDS = (
    "name",
    "description",
    "redirect_uris",
    *ABOUT,
    "image_url",
    "scope_choice",
    "scopes",
    "no_scope",
    "resource_server",
    "disabled",
    *OPENID_FIELDS,
    VERSION,
)

#: The fields that may have several entries.
LISTS = ("redirect_uris", "scopes", "post_logout_redirect_uris")

# What a client may ask for: every scope, those that are ticked, or none.
_EVERY, _SOME, _NONE = "every", "some", "none"

#: The largest number of scopes that the form shows as boxes. A form has 100 fields at most, so that more
#: are typed into one field.
MAX_BOXES = 50

#: A client that the checks can judge before it is registered.
_NEW = Client("", "", b"")


def kept(admin_request: AdminRequest, client: Client) -> dict[str, str]:
    """A client as the fields of its form."""
    choice = _EVERY if client.scopes is None else _SOME if client.scopes else _NONE
    fields = {
        "name": client.name,
        "description": client.description,
        "redirect_uris": "\n".join(client.redirect_uris),
        **{name: getattr(client, name) for name in ABOUT},
        "image_url": client.image_url,
        "scope_choice": choice,
        "scopes": "\n".join(client.scopes or ()),
        "no_scope": "yes" if choice == _NONE else "",
        "resource_server": "yes" if client.resource_server else "",
        "disabled": "yes" if client.disabled else "",
    }
    if admin_request.administration.settings.openid:
        fields |= {
            "id_token_alg": client.id_token_alg,
            "post_logout_redirect_uris": "\n".join(client.post_logout_redirect_uris),
            "backchannel_logout_uri": client.backchannel_logout_uri,
        }
    return versioned(fields)


def sent_fields(admin_request: AdminRequest, kept_fields: Mapping[str, str]) -> dict[str, str]:
    """The kept fields without those that only other templates send.

    A template of an operator may have ``no_scope`` in place of ``scope_choice``, and ``image_url``. It
    may be older than the fields of `ABOUT`.
    """
    other = {"no_scope" if admin_request.form.get("scope_choice") else "scope_choice"}
    if admin_request.form.get("image_url") is None:
        other.add("image_url")
    other.update(set(ABOUT).difference(_about(admin_request)))
    other.update(set(OPENID_FIELDS).difference(_openid_fields(admin_request)))
    return {name: value for name, value in kept_fields.items() if name not in other}


async def registration(
    admin_request: AdminRequest, administration: Administration, client: Client = _NEW
) -> dict[str, Any]:
    """The fields of a client that the form contains.

    :param client: the client as it is, if it is registered already.
    :raises RegistrationError: the scopes do not fit the choice. It has the errors of all fields.
    """
    fields: dict[str, Any] = {
        "name": admin_request.text("name"),
        "description": admin_request.text("description"),
        "redirect_uris": _lines(admin_request, "redirect_uris"),
        # Only an operator's own template has this field.
        "image_url": admin_request.text("image_url") or client.image_url,
        "resource_server": admin_request.ticked("resource_server"),
        **_about(admin_request),
        **_openid_fields(admin_request),
    }
    errors = FieldErrors()
    with errors.of("scopes"):
        fields["scopes"] = _scopes(admin_request, client.scopes)
    if errors:
        with errors.of():
            await administration.check_client(attrs.evolve(client, **fields), client)
    errors.raise_all()
    return fields


def _lines(admin_request: AdminRequest, field: str) -> tuple[str, ...]:
    return tuple(line for line in admin_request.text(field).split("\n") if line)


def _openid_fields(admin_request: AdminRequest) -> dict[str, Any]:
    """The fields of `OPENID_FIELDS`. A template of an operator may be older than they are."""
    request = admin_request.request
    fields: dict[str, Any] = {}
    if not admin_request.administration.settings.openid:
        return fields
    if names_parameter(request, "id_token_alg"):
        fields["id_token_alg"] = admin_request.text("id_token_alg") or ID_TOKEN_ALGORITHMS[0]
    if names_parameter(request, "post_logout_redirect_uris"):
        uris = _lines(admin_request, "post_logout_redirect_uris")
        fields["post_logout_redirect_uris"] = uris
    if names_parameter(request, "backchannel_logout_uri"):
        fields["backchannel_logout_uri"] = admin_request.text("backchannel_logout_uri")
    return fields


def _about(admin_request: AdminRequest) -> dict[str, str]:
    """The fields of `ABOUT` that the form has, empty or not."""
    request = admin_request.request
    return {name: admin_request.text(name) for name in ABOUT if names_parameter(request, name)}


def _scopes(admin_request: AdminRequest, known: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The scopes that the client may ask for; None for every one."""
    ticked = tuple(dict.fromkeys(admin_request.text("scopes").split()))
    match admin_request.form.get("scope_choice"):
        case None if ticked and admin_request.ticked("no_scope"):
            raise RegistrationError(
                Message("a client may ask for no scope, or for those that are named")
            )
        case None:
            return ticked if ticked or admin_request.ticked("no_scope") else None
        case "some" if not ticked:
            raise RegistrationError(Message("choose at least one scope"))
        case "some":
            # The boxes are in another order. That is not a change.
            return known if known is not None and set(known) == set(ticked) else ticked
        case "every" | "none" if ticked:
            raise RegistrationError(
                Message("untick the scopes, or choose that the client may ask only for these")
            )
        case "every":
            return None
        case "none":
            return ()
        case _:
            raise RegistrationError(Message("choose which scopes the client may ask for"))
