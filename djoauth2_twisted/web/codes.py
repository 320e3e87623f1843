"""The last step of an authorization request: a grant is stored, and its code is given out."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import random_string
from ..errors import AccessDenied
from ..events import CodeIssued, Events
from ..interfaces import IRegistry, ITokenStore
from ..models import Grant, ResourceOwner
from ..protocol.authorization import AuthorizationRequest, covers, supersedes
from ..scope_lookup import find_scopes
from . import statistics
from .consent import new_grant
from .reading import address_of, request_id_of
from .sessions import FORM_LIFETIME, Browser, Sessions
from .statistics import Statistics

#: How many grants that are in use are looked at for a remembered consent, the last used first.
MAX_LOOKED_AT = 20

#: How many grants a client keeps of one login that were made without a page, besides the new one.
MAX_OF_LOGIN = 10


@frozen
class Codes:
    """Issues authorization codes, and remembers what a user has consented to."""

    clock: IReactorTime
    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    statistics: Statistics
    events: Events

    async def remembered(self, asked: AuthorizationRequest, owner: ResourceOwner) -> Sequence[Grant]:
        """The user's grants in use with the client, the last used first.

        They are none where none of them covers the request, so that the page must ask.
        """
        if not self.settings.remember_consent:
            return []
        now = int(self.clock.seconds())
        grants: Sequence[Grant] = await self.tokens.grants_in_use(
            owner.username, asked.client.client_id, MAX_LOOKED_AT
        )
        return grants if any(covers(grant, asked, owner, now) for grant in grants) else []

    async def issue(
        self,
        request: IRequest,
        nonce: str | None,
        asked: AuthorizationRequest,
        browser: Browser,
        owner: ResourceOwner,
        in_use: Sequence[Grant] = (),
    ) -> str | None:
        """A new code; None where the client, a scope or the login has ended meanwhile.

        :param nonce: the nonce of the consent form; None where consent was remembered.
        :param in_use: the grants of `remembered`.
        :raises AccessDenied: the consent form was used before.
        """
        code = random_string(self.settings.authorization_code_length)
        now = int(self.clock.seconds())
        grant = new_grant(self.settings, now, nonce, asked, browser, owner, code)
        is_new = await self.tokens.add_code(grant, self.settings.max_grants_per_client)
        if nonce is not None:
            await self._check_form_use(grant, is_new)
        if not await self._still_good(request, asked, owner):
            await self.tokens.revoke_grant(grant.id)
            return None
        await self._end_superseded(grant, in_use)
        if is_new:
            self.statistics.count(statistics.AUTHORIZATION)
        self.events.publish(
            CodeIssued(
                username=owner.username,
                client_id=asked.client.client_id,
                scopes=grant.scopes,
                grant_id=grant.id,
                address=address_of(request),
                request_id=request_id_of(request),
            )
        )
        return code

    async def _end_superseded(self, grant: Grant, in_use: Sequence[Grant]) -> None:
        """Revoke the grants of the same login that a client has not used for the longest time.

        A client that often asks without a page (``prompt=none``) uses the newest grant. Its old ones
        would fill ``MAX_GRANTS_PER_CLIENT``, and the user's other logins would end.
        """
        superseded = [other for other in in_use if supersedes(grant, other)]
        for other in superseded[MAX_OF_LOGIN:]:
            await self.tokens.revoke_grant(other.id)

    async def _check_form_use(self, grant: Grant, is_new: bool) -> None:
        """Let a consent form make one grant, and no other for as long as the form is valid.

        The form's nonce is the grant's id. A form that is sent again, by a double click or after Back,
        gives its grant a new code. While the form is valid, its grant may be revoked and pruned. So a
        lease of the same lifetime records that the form was used. No code is sent before that.

        :param is_new: whether the grant was just stored, and not before.
        :raises AccessDenied: the form's grant has ended, or its code was exchanged.
        """
        if is_new:
            now = int(self.clock.seconds())
            holder, until = random_string(30), now + FORM_LIFETIME
            if await self.registry.acquire_lease(f"consent:{grant.id}", holder, until, now):
                return
            await self.tokens.revoke_grant(grant.id)
        elif await self.tokens.renew_code(grant):
            return
        raise AccessDenied("the consent form was used before")

    async def _still_good(
        self, request: IRequest, asked: AuthorizationRequest, owner: ResourceOwner
    ) -> bool:
        """Whether client, scopes and login are unchanged since before the code was stored.

        A deletion first deletes the client, the scope or the user, and then revokes its grants. This
        check finds a grant that was stored too late for that.
        """
        client = await self.registry.find_client(asked.client.client_id)
        names = tuple(scope.name for scope in asked.scopes)
        scopes = await find_scopes(self.registry, names, self.settings.openid)
        browser = await self.sessions.browser(request)
        return (
            client is not None
            and not client.disabled
            and asked.redirect_uri in client.redirect_uris
            and len(scopes) == len(asked.scopes)
            and browser.owner is not None
            and browser.owner.username == owner.username
            and browser.owner.subject == owner.subject
        )
