"""The entry of the administration: it checks the administrator, and dispatches to the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import attrs
from attrs import frozen
from twisted.web.iweb import IRequest

from ...administration import Administration
from ...conf import Settings
from ...errors import AccessDenied, AlreadyExists, ChangedMeanwhile, NothingHere, RegistrationError
from ...key_ring import KeyRing
from ...models import ResourceOwner, User
from ...parameters import parse
from ...protocol import paths
from .. import respond
from ..mounting import address_with_query
from ..pages import Pages
from ..reading import form_body, query_of, read_query, require_method, require_tls
from ..refusals import RecentRefusals
from ..respond import Response
from ..sessions import Browser, Sessions
from ..shield import shield
from ..statistics import Statistics
from ..typed import find_typed, forget_typed, keep_typed
from . import audit_trail, client_form, clients, grants, keys, overview, scopes, sent_again, users
from .admin_request import ACTOR, AdminRequest, Metadata, bound_to
from .upload import read_upload

Act = Callable[[AdminRequest], Coroutine[Any, Any, Response]]


@frozen
class _Page:
    """A page, the action of its form, and the fields that are restored after a login."""

    show: Act
    act: Act | None = None
    fields: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()  #: fields that may be sent more than once
    upload: str | None = None  #: the form's field with a file
    #: the answer to a form that is sent again, after its change was made
    result: Callable[[AdminRequest], Response] | None = None


_PAGES = {
    "": _Page(overview.show),
    "clients": _Page(clients.show_list),
    "clients/add": _Page(
        clients.show_add, clients.add, client_form.FIELDS, client_form.LISTS, result=clients.go_to_added
    ),
    "client": _Page(
        clients.show, clients.edit, client_form.FIELDS, client_form.LISTS, result=clients.go_to_client
    ),
    "client/secret": _Page(clients.show_secret, clients.rotate_secret, result=clients.go_to_secret),
    "client/new-secret": _Page(clients.show_new_secret),
    "client/image": _Page(
        clients.show_image, clients.set_image, upload="image", result=clients.go_to_client
    ),
    "client/delete": _Page(clients.show_delete, clients.delete),
    "scopes": _Page(scopes.show_list),
    "scopes/add": _Page(scopes.show_add, scopes.add, scopes.FIELDS, result=scopes.go_to_list),
    "scope": _Page(scopes.show, scopes.edit, scopes.FIELDS, result=scopes.go_to_list),
    "scope/delete": _Page(scopes.show_delete, scopes.delete),
    "users": _Page(users.show_list),
    "users/add": _Page(users.show_add, users.add, users.FIELDS, result=users.go_to_added),
    "user": _Page(users.show, users.edit, users.FIELDS, result=users.go_to_user),
    "user/password": _Page(users.show_password, users.set_password, result=users.go_to_user),
    "user/second-factor": _Page(
        users.show_second_factor, users.reset_second_factor, result=users.go_to_user
    ),
    "user/delete": _Page(users.show_delete, users.delete),
    "grants": _Page(grants.show_list, grants.revoke, result=grants.go_to_list),
    "keys": _Page(keys.show, keys.rotate),
    "audit": _Page(audit_trail.show),
    "audit/csv": _Page(audit_trail.export),
}


def _may_administer(user: User, owner: ResourceOwner) -> bool:
    """Whether a logged-in user is an administrator, and not just has the name of one."""
    return user.admin and not user.disabled and user.subject == owner.subject


@frozen
class Admin:
    """``/admin/`` and all addresses below it, for administrators."""

    settings: Settings
    sessions: Sessions
    pages: Pages
    administration: Administration
    statistics: Statistics
    refusals: RecentRefusals
    metadata: Metadata
    ring: KeyRing | None = None

    async def __call__(self, request: IRequest, address: str = "") -> Response:
        """Show a page, or perform the action of its form.

        :param address: the page's address below ``/admin/``.
        """
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        try:
            return await self._dispatch(request, address)
        except (AccessDenied, NothingHere) as error:
            return self.pages.error(request, error, "admin/refused.html")

    async def _dispatch(self, request: IRequest, address: str) -> Response:
        browser = await self.sessions.browser(request)
        name = address.removesuffix("/")
        page = _PAGES.get(name) if name != "keys" or self.ring is not None else None
        if browser.owner is None:
            return await self._go_to_login(request, browser, address, page)
        # Each request reads the user, so that a right that was taken away ends immediately.
        user = await self.administration.registry.find_user(browser.owner.username)
        if user is None or not _may_administer(user, browser.owner):
            raise AccessDenied("this is for administrators alone")
        if page is None:
            raise NothingHere("there is nothing at this address")
        if page.act is None:
            require_method(request, "GET")
        query = read_query(request)
        admin_request = AdminRequest(
            request,
            name,
            browser,
            user,
            query,
            self.sessions,
            self.pages,
            self.administration,
            self.statistics,
            self.refusals,
            self.metadata,
            ring=self.ring,
        )
        return await self._answer(admin_request, page)

    async def _answer(self, admin_request: AdminRequest, page: _Page) -> Response:
        try:
            if admin_request.request.method == b"POST" and page.act is not None:
                admin_request = self._read_form(admin_request, page)
                try:
                    return await shield(_act(admin_request, page, page.act))
                except RegistrationError as error:
                    admin_request = attrs.evolve(admin_request, error=error)
            elif page.fields:
                return await self._show_restored(admin_request, page)
            return await page.show(admin_request)
        except RegistrationError:
            raise NothingHere("there is nothing of that name") from None

    def _read_form(self, admin_request: AdminRequest, page: _Page) -> AdminRequest:
        if page.upload is not None:
            form, upload = read_upload(admin_request.request, page.upload)
            return attrs.evolve(admin_request, form=form, upload=upload)
        form = parse(form_body(admin_request.request), lists=page.lists)
        form.refuse_repeated()
        return attrs.evolve(admin_request, form=form)

    async def _show_restored(self, admin_request: AdminRequest, page: _Page) -> Response:
        """A page with a form, filled with the values that the user typed before a login ended."""
        username, name = admin_request.user.username, _name(admin_request.page, admin_request.id)
        typed = find_typed(self.sessions, admin_request.request, admin_request.browser, username, name)
        if typed is None:
            return await page.show(admin_request)
        return forget_typed(self.sessions, await page.show(attrs.evolve(admin_request, restored=typed)))

    async def _go_to_login(
        self, request: IRequest, browser: Browser, address: str, page: _Page | None
    ) -> Response:
        """Redirect to the login page, which returns here, and keep the typed values if possible."""
        here = paths.ADMIN + quote(address, errors="surrogateescape")
        back = address_with_query(request, here, query_of(request))
        response = respond.redirect(request, await self.sessions.login_address(request, back))
        if request.method != b"POST" or page is None or not page.fields:
            return response
        form = parse(form_body(request), lists=page.lists)
        name, about, username = address.removesuffix("/"), _id_of(request), form.get(ACTOR) or ""
        token, bound = form.get("csrf_token"), bound_to(username, name, about)
        # The token proves that the values come from this page, however old it is.
        if self.sessions.check_form_token(browser, token, *bound, lifetime=math.inf) is None:
            return response
        typed = {field: value for field in page.fields if (value := form.get(field)) is not None}
        return keep_typed(self.sessions, response, browser, username, _name(name, about), typed)


async def _act(admin_request: AdminRequest, page: _Page, act: Act) -> Response:
    """Perform the action of a form. The same form sent again gets the answer of the first time."""
    try:
        response = await act(admin_request)
    # Both come only after the form's token was checked, so a forged form writes nothing.
    except (AlreadyExists, ChangedMeanwhile):
        if page.result is not None and await sent_again.was_done(admin_request):
            return page.result(admin_request)
        raise
    if page.result is not None:
        await sent_again.note_done(admin_request)
    return response


def _id_of(request: IRequest) -> str:
    return read_query(request).get("id") or ""


def _name(page: str, about: str) -> str:
    """The name of a page, from its address and the object that it shows."""
    return f"{page}?{about}"
