"""The names of the keys. What each holds stands in `scripts`."""

from __future__ import annotations

from attrs import frozen

from ...credentials import digest
from ...models import Grant, GrantFilter


@frozen
class Keys:
    """The keys of one store, all of which begin with its prefix."""

    prefix: str

    def grant(self, grant_id: str) -> str:
        """A grant."""
        return f"{self.prefix}g:{grant_id}"

    def code(self, code_digest: bytes) -> str:
        """The id of a code's grant."""
        return f"{self.prefix}c:{code_digest.hex()}"

    def family(self, family_digest: bytes | None) -> str:
        """The id of a family's grant. For None the key is one under which nothing is stored."""
        return f"{self.prefix}f:{(family_digest or b'').hex()}"

    def access_token(self, access_digest: bytes) -> str:
        """An access token."""
        return f"{self.prefix}a:{access_digest.hex()}"

    def refresh_token(self, refresh_digest: bytes) -> str:
        """The pair that a refresh token belongs to."""
        return f"{self.prefix}r:{refresh_digest.hex()}"

    def kept_answer(self, used_digest: bytes) -> str:
        """The pair that was issued for a refresh token, with the answer, while it may be retried."""
        return f"{self.prefix}y:{used_digest.hex()}"

    def used_tokens(self, grant_id: str) -> str:
        """The set of the used codes and tokens of a grant that has no family."""
        return f"{self.prefix}t:{grant_id}"

    def all_grants(self) -> str:
        """The set of all grants, by creation."""
        return f"{self.prefix}all"

    def user_grants(self, username: str) -> str:
        """The set of a user's grants, by creation."""
        return f"{self.prefix}u:{short(username)}"

    def client_grants(self, client_id: str) -> str:
        """The set of a client's grants, by creation."""
        return f"{self.prefix}k:{short(client_id)}"

    def user_client_grants(self, username: str, client_id: str) -> str:
        """The set of the grants of a user with a client, by last use."""
        return f"{self.prefix}p:{short(username)}{short(client_id)}"

    def expiry(self) -> str:
        """The set of all grants, as entries, by expiry."""
        return f"{self.prefix}x"

    def grants(self, filter: GrantFilter) -> str:
        """The smallest set by creation that has all grants of a filter. It may have others."""
        if filter.username is not None:
            return self.user_grants(filter.username)
        if filter.client_id is not None:
            return self.client_grants(filter.client_id)
        return self.all_grants()


def entry(grant: Grant) -> str:
    """A grant with its user and client, as a member of the set by expiry."""
    return f"{short(grant.owner.username)} {short(grant.client_id)} {grant.id}"


def short(name: str) -> str:
    """A name in a key: 128 bits of its digest, since it may contain any character."""
    return digest(name).hex()[:32]
