"""The values that pass between the floors. They are frozen and know nothing of how they are kept.

Times are integer seconds since the epoch. A digest is the SHA-256 of a value that only its owner has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs
from attrs import frozen


@frozen
class Scope:
    """A permission that a client may ask for (RFC 6749, section 3.3), with its words for people."""

    name: str
    description: str


@frozen
class Client:
    """A confidential client (RFC 6749, section 2), or a resource server that may introspect."""

    client_id: str
    name: str
    secret_digest: bytes = attrs.field(repr=False)
    description: str = ""
    image_url: str = ""
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None  #: what it may ask for; None: every scope
    resource_server: bool = False
    disabled: bool = False
    #: The secret before the last rotation, and until when it is good beside the new one.
    previous_secret_digest: bytes | None = attrs.field(default=None, repr=False)
    previous_secret_expires: int | None = None
    image_digest: bytes | None = None  #: of its picture, if there is one; kept with the picture


@frozen
class Image:
    """A client's picture."""

    media_type: str
    content: bytes = attrs.field(repr=False)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the content."""
        return hashlib.sha256(self.content).digest()


#: A subject of somebody who was given no other.
_THE_NAME = attrs.Factory(lambda owner: owner.username, takes_self=True)


@frozen
class User:
    """A resource owner of the database (RFC 6749, section 1.1)."""

    username: str
    password_hash: str = attrs.field(repr=False)
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    admin: bool = False
    disabled: bool = False
    subject: str = attrs.field(default=_THE_NAME)  #: never anybody else's, as the name may be


@frozen
class ResourceOwner:
    """Who is logged in; what is known of them beside the name may be empty."""

    username: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    subject: str = attrs.field(default=_THE_NAME)  #: as above, where it is known


@frozen
class Session:
    """A login of one browser. Kept by the digest of what the browser's cookie holds."""

    digest: bytes
    owner: ResourceOwner
    expires: int


@frozen
class Limit:
    """So many attempts at once, which are forgotten one by one in so many seconds."""

    most: int
    seconds: int = 60


@frozen
class Grant:
    """What a resource owner let a client do; everything issued on its strength belongs to it.

    A grant is born with its authorization code (RFC 6749, section 1.3.1). Revoking it ends the code,
    the access tokens and the refresh tokens at once.
    """

    id: str
    client_id: str
    owner: ResourceOwner
    scopes: tuple[str, ...]
    created: int
    last_used: int
    expires: int  #: when the last of its code and tokens does, after which it may be pruned
    code_digest: bytes = attrs.field(repr=False)
    code_expires: int
    redirect_uri: str | None  #: as in the authorization request, None where it was left out
    code_challenge: str | None
    code_used: bool = False
    revoked: bool = False
    #: By what all of its refresh tokens are known, those too that were used long ago.
    family_digest: bytes | None = attrs.field(default=None, repr=False)
    refresh_ended: bool = False  #: its refresh tokens are over, its last access token may not be


@frozen
class TokenPair:
    """An access token and the refresh token issued with it, by their digests."""

    access_digest: bytes = attrs.field(repr=False)
    access_expires: int
    refresh_digest: bytes | None = attrs.field(repr=False)
    refresh_expires: int | None
    grant_id: str
    scopes: tuple[str, ...]  #: of the access token; a refresh token has those of its grant
    issued: int
    access_revoked: bool = False
    rotated: bool = False  #: used, and kept to show its reuse, as each was before there were families
    predecessor: bytes | None = attrs.field(default=None, repr=False)
    sealed_answer: bytes | None = attrs.field(default=None, repr=False)


@frozen
class AccessToken:
    """A valid access token as guarded code sees it: ``IAccessToken(request)``."""

    client_id: str
    user: ResourceOwner
    scopes: tuple[str, ...]
    issued: int
    expires: int
    grant_id: str

    def has_scope(self, *names: str) -> bool:
        """Whether the token covers all of the scopes named."""
        return set(names) <= set(self.scopes)


@frozen
class CodeProof:
    """What a client shows beside an authorization code (RFC 6749, section 4.1.3; RFC 7636, 4.5)."""

    client_id: str
    redirect_uri: str | None
    code_verifier: str | None = attrs.field(repr=False)


@frozen
class RefreshProof:
    """What a client shows beside a refresh token (RFC 6749, section 6)."""

    client_id: str
    scopes: tuple[str, ...] | None  #: None: those that were granted


@frozen
class Issuance:
    """What is to be issued if the proof holds, made ready outside the store's atomic step."""

    now: int
    access_digest: bytes = attrs.field(repr=False)
    access_expires: int
    refresh_digest: bytes | None = attrs.field(repr=False)
    refresh_expires: int | None
    #: Of the refresh token's family: a new one for a code, that of the token presented for a refresh.
    family_digest: bytes | None = attrs.field(default=None, repr=False)
    retry_seconds: int = 0
    sealed_answer: bytes | None = attrs.field(default=None, repr=False)


@frozen
class Issued:
    """The step was taken; the pair is stored."""

    grant: Grant
    pair: TokenPair


@frozen
class RefreshRetried:
    """An exact repeat of the last refresh, soon after it: the answer that was given then."""

    grant: Grant
    pair: TokenPair


@frozen
class Unknown:
    """No such code or token, or one whose grant is over."""


@frozen
class Expired:
    """The code or token is past its time."""


@frozen
class Refused:
    """The proof fails. Nothing was changed: the code or token stays good for its owner."""

    reason: str
    invalid_scope: bool = False


@frozen
class Replayed:
    """Used once before, by whoever can prove it to be theirs. The grant was revoked in this step."""

    grant: Grant


class Pruned(int):
    """How many rows of any kind were forgotten; and how many of them were grants."""

    grants: int

    def __new__(cls, rows: int, grants: int) -> Pruned:
        pruned = super().__new__(cls, rows)
        pruned.grants = grants
        return pruned


Outcome = Issued | RefreshRetried | Unknown | Expired | Refused | Replayed


@frozen
class Actor:
    """Who administers, and where from."""

    name: str
    address: str


@frozen
class Event:
    """One row of the audit trail: who did what, when and from where. No secret is in it."""

    id: str
    time: int  #: in milliseconds since the epoch
    actor: str
    action: str
    subject: str  #: the id or name of what was changed
    address: str
    details: Mapping[str, str] = attrs.field(factory=dict)


@frozen
class Totals:
    """How many there are; of each, as far as `MAX_COUNTED`, and one more where there are more."""

    clients: int
    scopes: int
    users: int
    admins: int  #: users who may administer and are not disabled
    sessions: int


@frozen
class GrantFilter:
    """Which grants to list; what is None does not matter."""

    username: str | None = None
    client_id: str | None = None


@frozen
class Page:
    """A part of a list: at most ``size`` entries after the first ``offset``.

    A list is read from its beginning each time, so a large offset costs much.
    """

    offset: int = 0
    size: int = 100
    #: Begin after the entry with this key, where the list says what that is; no part costs more.
    after: tuple[int | str, ...] = ()


@frozen
class Found:
    """What one step of a search has found."""

    users: list[User]
    #: The name after which the next step begins; empty where all users were looked through.
    reached: str
