"""Users: their list, and what can be done with one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from klein import Response

from ...errors import NotFound
from ...models import Page, User
from .visit import PAGE_SIZE, VERSION, Visit, changes, grants_end, of_grants, shown, versioned

FIELDS = ("username", "email", "first_name", "last_name", "admin", "disabled", VERSION)


#: A page takes so many steps of a search, and then offers to go on.
MOST_STEPS = 10


async def show_list(visit: Visit) -> Response:
    """Users in the order of their names, all or those that are searched for."""
    search, after = visit.query.get("search") or "", visit.query.get("after") or ""
    users, reached = await (_search(visit, search, after) if search else _part(visit, after))
    said = {"search": search} if search else {}
    return visit.show(
        "users.html",
        users=users,
        pager=visit.pager_after(after, reached, **said),
        goes_on=bool(reached) and len(users) < PAGE_SIZE,
        search_action=visit.link("users"),
        search=shown(search),
    )


async def _part(visit: Visit, after: str) -> tuple[list[User], str]:
    """Users after a name, and the name after which the next page begins."""
    page = Page(size=PAGE_SIZE + 1, after=(after,))
    users: list[User] = await visit.administration.registry.users(page)
    return users[:PAGE_SIZE], users[PAGE_SIZE - 1].username if len(users) > PAGE_SIZE else ""


async def _search(visit: Visit, text: str, after: str) -> tuple[list[User], str]:
    """Users who are found after a name, and the name after which the search goes on.

    Whoever has the very name that is searched for comes first.
    """
    registry = visit.administration.registry
    exact = await registry.find_user(text)
    found = [exact] if exact is not None and not after else []
    reached = after
    for _ in range(MOST_STEPS):
        step = await registry.search_users(text, reached, PAGE_SIZE - len(found))
        found += [user for user in step.users if user.username != text]
        reached = step.reached
        if not reached or len(found) >= PAGE_SIZE:
            break
    return found, reached


async def show_add(visit: Visit) -> Response:
    """The form for a new user."""
    values = visit.values(FIELDS, {})
    return visit.show("user_add.html", values=values, form=visit.hidden())


async def add(visit: Visit) -> Response:
    """Add a user."""
    administration = visit.allowed()
    username, password = visit.text("username"), visit.form.get("password") or ""
    await administration.add_user(username, password, **_profile(visit))
    return visit.go("user", id=username)


async def show(visit: Visit) -> Response:
    """A user, as a form."""
    user = await visit.administration.user(visit.id)
    return visit.show(
        "user.html",
        user=user,
        values=visit.values(FIELDS[1:], _kept(user)),
        form=visit.hidden(),
        grants=of_grants(await visit.administration.tokens.count_grants(username=user.username)),
    )


async def edit(visit: Visit) -> Response:
    """Change a user."""
    administration = visit.allowed()
    user = await administration.user(visit.id)
    visit.refuse_outdated(_kept(user))
    typed = {**_profile(visit), "disabled": visit.ticked("disabled")}
    await administration.edit_user(visit.id, **changes(user, typed))
    return visit.go("user", id=visit.id)


def _kept(user: User) -> dict[str, str]:
    """A user as the fields of the form."""
    fields = {
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "admin": "yes" if user.admin else "",
        "disabled": "yes" if user.disabled else "",
    }
    return versioned(fields)


def _profile(visit: Visit) -> dict[str, Any]:
    """What a form says of a user."""
    return {
        "email": visit.text("email"),
        "first_name": visit.text("first_name"),
        "last_name": visit.text("last_name"),
        "admin": visit.ticked("admin"),
    }


async def show_password(visit: Visit) -> Response:
    """The form for a new password."""
    user = await visit.administration.user(visit.id)
    return visit.show("user_password.html", user=user, form=visit.hidden())


async def set_password(visit: Visit) -> Response:
    """Give a user a new password."""
    await visit.allowed().set_password(visit.id, visit.form.get("password") or "")
    return visit.go("user", id=visit.id)


async def show_delete(visit: Visit) -> Response:
    """What goes with a user, before the user goes."""
    user = await visit.administration.user(visit.id)
    grants = await visit.administration.tokens.count_grants(username=user.username)
    return visit.show("user_delete.html", user=user, form=visit.hidden(), ends=grants_end(grants))


async def delete(visit: Visit) -> Response:
    """Forget a user; one who is gone already is as good as deleted."""
    administration = visit.allowed()
    with suppress(NotFound):
        await administration.delete_user(visit.id)
    return visit.go("users")
