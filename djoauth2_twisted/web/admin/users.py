"""The pages for users: their list, and the forms that change one."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Any

from ...errors import NotFound
from ...models import Page, User
from ..respond import Response
from .admin_request import (
    PAGE_SIZE,
    VERSION,
    AdminRequest,
    changes,
    grants_end,
    number,
    of_grants,
    shown,
    versioned,
)

FIELDS = ("username", "email", "first_name", "last_name", "email_verified", "admin", "disabled", VERSION)

#: The largest number of search steps for one page. Then the page offers to continue.
MAX_STEPS = 10


async def show_list(admin_request: AdminRequest) -> Response:
    """Show all users, or those that match a search, in the order of their names."""
    search, after = admin_request.query.get("search") or "", admin_request.query.get("after") or ""
    users, reached = await (
        _search(admin_request, search, after) if search else _users_after(admin_request, after)
    )
    said = {"search": search} if search else {}
    totals = await admin_request.administration.registry.totals(admin_request.now)
    return admin_request.show(
        "users.html",
        users=users,
        total=number(totals.users),
        pager=admin_request.pager_after(after, reached, **said),
        goes_on=bool(reached) and len(users) < PAGE_SIZE,
        search_action=admin_request.link("users"),
        search=shown(search),
    )


async def _users_after(admin_request: AdminRequest, after: str) -> tuple[list[User], str]:
    """Users after a name, and the name after which the next page begins."""
    page = Page(size=PAGE_SIZE + 1, after=(after,))
    users: list[User] = await admin_request.administration.registry.users(page)
    return users[:PAGE_SIZE], users[PAGE_SIZE - 1].username if len(users) > PAGE_SIZE else ""


async def _search(admin_request: AdminRequest, text: str, after: str) -> tuple[list[User], str]:
    """Users after a name who match a text, and the name after which the search continues.

    The users who have the text as their name, in any case and Unicode form, come first.
    """
    registry = admin_request.administration.registry
    text = unicodedata.normalize("NFC", text.strip())
    alike = await registry.users_alike(text)
    found = [] if after else alike
    names = {user.username for user in alike}
    reached = after
    for _ in range(MAX_STEPS):
        step = await registry.search_users(text, reached, PAGE_SIZE - len(found))
        found += [user for user in step.users if user.username not in names]
        reached = step.reached
        if not reached or len(found) >= PAGE_SIZE:
            break
    return found, reached


async def show_add(admin_request: AdminRequest) -> Response:
    """The form for a new user."""
    values = admin_request.values(FIELDS, {})
    return admin_request.show("user_add.html", values=values, form=admin_request.hidden())


async def add(admin_request: AdminRequest) -> Response:
    """Add a user."""
    administration = admin_request.allowed()
    username, password = admin_request.text("username"), admin_request.form.get("password") or ""
    user = await administration.add_user(username, password, **_profile(admin_request))
    return admin_request.go("user", id=user.username)


def go_to_added(admin_request: AdminRequest) -> Response:
    """Redirect to the new user, in any spelling of the name."""
    return admin_request.go("user", id=admin_request.text("username"))


async def show(admin_request: AdminRequest) -> Response:
    """A user, as a form."""
    user = await admin_request.administration.user(admin_request.id)
    return admin_request.show(
        "user.html",
        user=user,
        values=admin_request.values(FIELDS[1:], _kept(admin_request, user)),
        form=admin_request.hidden(),
        grants=of_grants(await admin_request.administration.tokens.count_grants(username=user.username)),
        has_second_factor=await _has_second_factor(admin_request, user),
    )


async def edit(admin_request: AdminRequest) -> Response:
    """Change a user."""
    administration = admin_request.allowed()
    user = await administration.user(admin_request.id)
    admin_request.refuse_outdated(_kept(admin_request, user))
    typed = {**_profile(admin_request), "disabled": admin_request.ticked("disabled")}
    await administration.edit_user(admin_request.id, **changes(user, typed))
    return go_to_user(admin_request)


def go_to_user(admin_request: AdminRequest) -> Response:
    """Redirect to the user whom the form has changed."""
    return admin_request.go("user", id=admin_request.id)


def _kept(admin_request: AdminRequest, user: User) -> dict[str, str]:
    """A user as the fields of the form."""
    fields = {
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "admin": "yes" if user.admin else "",
        "disabled": "yes" if user.disabled else "",
    }
    if admin_request.administration.settings.openid:
        fields["email_verified"] = "yes" if user.email_verified else ""
    return versioned(fields)


def _profile(admin_request: AdminRequest) -> dict[str, Any]:
    """The fields of a user that a form contains."""
    fields = {
        "email": admin_request.text("email"),
        "first_name": admin_request.text("first_name"),
        "last_name": admin_request.text("last_name"),
        "admin": admin_request.ticked("admin"),
    }
    if admin_request.administration.settings.openid:
        fields["email_verified"] = admin_request.ticked("email_verified")
    return fields


async def show_password(admin_request: AdminRequest) -> Response:
    """The form for a new password."""
    user = await admin_request.administration.user(admin_request.id)
    return admin_request.show("user_password.html", user=user, form=admin_request.hidden())


async def set_password(admin_request: AdminRequest) -> Response:
    """Set a user's password."""
    await admin_request.allowed().set_password(
        admin_request.id, admin_request.form.get("password") or ""
    )
    return go_to_user(admin_request)


async def _has_second_factor(admin_request: AdminRequest, user: User) -> bool:
    registry = admin_request.administration.registry
    return await registry.find_second_factor(user.subject) is not None


async def show_second_factor(admin_request: AdminRequest) -> Response:
    """Ask whether to remove a user's second factor."""
    user = await admin_request.administration.user(admin_request.id)
    return admin_request.show("user_second_factor.html", user=user, form=admin_request.hidden())


async def reset_second_factor(admin_request: AdminRequest) -> Response:
    """Remove a user's second factor."""
    await admin_request.allowed().reset_second_factor(admin_request.id)
    return go_to_user(admin_request)


async def show_delete(admin_request: AdminRequest) -> Response:
    """Ask whether to delete a user, and show what ends with the user."""
    user = await admin_request.administration.user(admin_request.id)
    grants = await admin_request.administration.tokens.count_grants(username=user.username)
    return admin_request.show(
        "user_delete.html", user=user, form=admin_request.hidden(), ends=grants_end(grants)
    )


async def delete(admin_request: AdminRequest) -> Response:
    """Delete a user. It is not an error if the user no longer exists."""
    administration = admin_request.allowed()
    with suppress(NotFound):
        await administration.delete_user(admin_request.id)
    return admin_request.go("users")
