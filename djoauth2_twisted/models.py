"""The values that the layers exchange. They are immutable, and do not know how they are stored.

Times are integer seconds since the epoch. A digest is the SHA-256 of a secret value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs
from attrs import field, frozen


@frozen
class Scope:
    """A permission that a client may ask for (RFC 6749, section 3.3), and its description."""

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
    scopes: tuple[str, ...] | None = None  #: those that it may request; None: all
    resource_server: bool = False
    disabled: bool = False
    #: The secret before the last rotation, and when it expires. Until then both are valid.
    previous_secret_digest: bytes | None = attrs.field(default=None, repr=False)
    previous_secret_expires: int | None = None
    image_digest: bytes | None = None  #: of its picture, if it has one
    homepage_url: str = ""
    privacy_url: str = ""  #: of its privacy policy
    developer: str = ""  #: who has made it
    #: About when it last got tokens, in seconds since the epoch; see `IClients.note_uses`.
    last_used: int | None = attrs.field(default=None, eq=False)
    #: The algorithm that signs its ID tokens: ``id_token_signed_response_alg`` of OpenID Connect Dynamic
    #: Client Registration 1.0, section 2.
    id_token_alg: str = "RS256"
    post_logout_redirect_uris: tuple[
        str, ...
    ] = ()  #: OpenID Connect RP-Initiated Logout 1.0, section 3.1
    backchannel_logout_uri: str = ""  #: OpenID Connect Back-Channel Logout 1.0, section 2.2


@frozen
class Image:
    """A client's picture."""

    media_type: str
    content: bytes = attrs.field(repr=False)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the content."""
        return hashlib.sha256(self.content).digest()


#: The default subject is the username.
_USERNAME = attrs.Factory(lambda owner: owner.username, takes_self=True)


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
    subject: str = attrs.field(default=_USERNAME)  #: never reused; a username may be
    email_verified: bool = False  #: whether the address was shown to be the user's
    #: When the profile was last changed, if that is known. Users are compared without it.
    updated_at: int | None = attrs.field(default=None, eq=False)


@frozen
class ResourceOwner:
    """A person who is logged in. All fields but the username and subject may be empty."""

    username: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    subject: str = attrs.field(default=_USERNAME)  #: as in `User`, if it is known
    email_verified: bool = False  #: as in `User`
    auth_time: int | None = None  #: when this person last logged in, if that is known


@frozen
class Session:
    """A login of one browser. Its key is the digest of the browser's cookie value."""

    digest: bytes
    owner: ResourceOwner
    expires: int
    auth_time: int = 0  #: when the user proved who he is, in seconds since the epoch
    address: str = ""  #: of the browser then; empty if an older version did not store it
    second_factor: bool = False  #: whether the proof included a second factor
    #: Names the login for clients. It is kept when the same user logs in again. None: see `sid_of`.
    sid: str | None = None


@frozen
class SecondFactor:
    """What proves that a user has the device that was set up (RFC 6238), and the recovery codes left.

    It belongs to a subject, since a username may be given to another user.
    """

    subject: str
    sealed: bytes = attrs.field(repr=False)  #: the secrets, under the key file
    created: int
    last_step: int  #: the time step of the newest code that was accepted
    recovery_digests: frozenset[bytes] = attrs.field(default=frozenset(), repr=False)


@frozen
class LogoutNotice:
    """A logout for which clients get logout tokens (OpenID Connect Back-Channel Logout 1.0, 2.5)."""

    id: str
    username: str
    subject: str
    sid: str | None  #: the login that has ended; None: all of the user's
    client_id: str  #: empty: not yet divided among the clients
    due: int  #: when it is to be sent next, in seconds since the epoch
    attempts: int = 0  #: how often it was sent


@frozen
class SigningKey:
    """A key that signs ID tokens (RFC 7517), in one of the states of `protocol.key_states`."""

    kid: str  #: its thumbprint (RFC 7638)
    algorithm: str
    state: str
    public: Mapping[str, str]  #: its public half as a JWK
    sealed_private: bytes | None = attrs.field(repr=False)  #: None where it is erased
    created: int
    signs_from: int | None = None  #: when it became the current key
    retired: int | None = None


@frozen
class Limit:
    """A leaky bucket: it holds ``most`` attempts, and drains from full to empty in ``seconds``."""

    most: int
    seconds: int = 60


@frozen
class Grant:
    """What a resource owner allows a client to do, and the owner of everything issued for it.

    A grant begins with its authorization code (RFC 6749, section 1.3.1). Revoking it ends the code,
    the access tokens and the refresh tokens at once.
    """

    id: str
    client_id: str
    owner: ResourceOwner
    scopes: tuple[str, ...]
    created: int
    last_used: int
    expires: int  #: when its code and all its tokens have expired; it may be pruned then
    code_digest: bytes = attrs.field(repr=False)
    code_expires: int
    redirect_uri: str | None  #: where the code was sent; None if an older version did not store it
    code_challenge: str | None
    code_used: bool = False
    revoked: bool = False
    #: Whether the authorization request named the redirect URI. The token request must then do so, too.
    redirect_uri_sent: bool = True
    #: The digest of the family of its refresh tokens. It also identifies those used long ago.
    family_digest: bytes | None = attrs.field(default=None, repr=False)
    refresh_ended: bool = False  #: no refresh is possible; an access token may still be valid
    #: Of the authentication request (OpenID Connect Core 1.0, section 3.1.2.1): for its first ID token.
    nonce: str | None = attrs.field(default=None, repr=False)
    auth_time: int | None = None  #: when the resource owner logged in, if that is known
    sid: str | None = None  #: names the login that it was made in; see `protocol.id_token.sid_of`

    @property
    def last_issued(self) -> int | None:
        """When tokens were last issued for it; None where its code has not been exchanged."""
        return self.last_used if self.code_used else None


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
    rotated: bool = False  #: used; kept to detect reuse, for tokens older than families
    predecessor: bytes | None = attrs.field(default=None, repr=False)
    sealed_answer: bytes | None = attrs.field(default=None, repr=False)


@frozen
class AccessToken:
    """A valid access token, as guarded code gets it from ``IAccessToken(request)``."""

    client_id: str
    user: ResourceOwner
    scopes: tuple[str, ...]
    issued: int  #: 0 if another server does not say
    expires: int  #: a minute after it was asked, if another server does not say
    grant_id: str  #: empty if it is another server's

    def has_scope(self, *names: str) -> bool:
        """Whether the token covers all these scopes."""
        return set(names) <= set(self.scopes)


@frozen
class CodeProof:
    """What a client sends with an authorization code (RFC 6749, section 4.1.3; RFC 7636, 4.5)."""

    client_id: str
    redirect_uri: str | None
    code_verifier: str | None = attrs.field(repr=False)
    client_scopes: tuple[str, ...] | None = None  #: that the client may have now; None: all
    client_redirect_uris: tuple[str, ...] | None = None  #: that it has registered now; None: any


@frozen
class RefreshProof:
    """What a client sends with a refresh token (RFC 6749, section 6)."""

    client_id: str
    scopes: tuple[str, ...] | None  #: None: all that were granted
    client_scopes: tuple[str, ...] | None = None  #: that the client may have now; None: all
    openid: bool = False  #: the setting ``OPENID``


@frozen
class Issuance:
    """The tokens to issue if the proof holds. They are made before the store's atomic step begins."""

    now: int
    access_digest: bytes = attrs.field(repr=False)
    access_expires: int
    refresh_digest: bytes | None = attrs.field(repr=False)
    refresh_expires: int | None
    #: The refresh token's family: a new one for a code, the presented token's for a refresh.
    family_digest: bytes | None = attrs.field(default=None, repr=False)
    retry_seconds: int = 0
    sealed_answer: bytes | None = attrs.field(default=None, repr=False)


@frozen
class Issued:
    """The code or refresh token was exchanged, and the new pair is stored."""

    grant: Grant
    pair: TokenPair


@frozen
class RefreshRetried:
    """An exact repeat of the last refresh, soon after it. The client gets the same answer again."""

    grant: Grant
    pair: TokenPair


@frozen
class Unknown:
    """There is no such code or token, or its grant has ended."""


@frozen
class Expired:
    """The code or token has expired."""

    #: When it expired, in seconds since the epoch, and the id of its grant; for the log.
    at: int | None = field(default=None, eq=False)
    grant_id: str = field(default="", eq=False)


@frozen
class Refused:
    """The proof fails. Nothing was changed: the code or token stays valid for its client."""

    reason: str
    invalid_scope: bool = False
    #: The id of the grant, for the log.
    grant_id: str = field(default="", eq=False)


@frozen
class Replayed:
    """The client proved that the code or token is its own, but it was used before.

    The grant is revoked in the same step.
    """

    grant: Grant


class Pruned(int):
    """How many rows were deleted in all, and how many of them were grants."""

    grants: int

    def __new__(cls, rows: int, grants: int) -> Pruned:
        pruned = super().__new__(cls, rows)
        pruned.grants = grants
        return pruned


Outcome = Issued | RefreshRetried | Unknown | Expired | Refused | Replayed


#: The address of an actor who has used the command line. The actor's name is a system user's.
COMMAND_LINE = "command line"


@frozen
class Actor:
    """The name of an administrator, and the address that the change comes from."""

    name: str
    address: str


@frozen
class Event:
    """One row of the audit trail: who changed what, when and from where. It contains no secret."""

    id: str
    time: int  #: in milliseconds since the epoch
    actor: str
    action: str
    subject: str  #: the id or name of what was changed
    address: str
    details: Mapping[str, str] = attrs.field(factory=dict)


@frozen
class Totals:
    """How many rows of each kind there are. `MAX_COUNTED` + 1 means that there are more."""

    clients: int
    scopes: int
    users: int
    admins: int  #: administrators who are not disabled
    sessions: int


@frozen
class GrantFilter:
    """Which grants to list. A field that is None does not restrict the list."""

    username: str | None = None
    client_id: str | None = None


@frozen
class Page:
    """One page of a list: at most ``size`` entries.

    A page that begins after a key is as fast as the first page. A store skips ``offset`` entries each
    time, so a large offset is slow.
    """

    #: How many entries to skip, of those after the key.
    offset: int = 0
    size: int = 100
    #: The key of the entry before the page, by which the list is sorted. Empty: from the beginning.
    after: tuple[int | str, ...] = ()


@frozen
class Found:
    """What one step of a search found."""

    users: list[User]
    #: The username after which the next step begins; empty if all users were searched.
    reached: str
