"""Values for tests: grants, codes, tokens, clients, users and hostile names.

Times are near today's, so that a store may pass them to its own clock.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any

import attrs

from ...credentials import random_string
from ...models import (
    Client,
    CodeProof,
    Event,
    Grant,
    Issuance,
    ResourceOwner,
    SecondFactor,
    Session,
    SigningKey,
    TokenPair,
    User,
)

NOW = int(time.time())
CODE_LIFETIME = 600
ACCESS_LIFETIME = 3600
REFRESH_LIFETIME = 30 * 86400

REDIRECT_URI = "https://app.example/cb?a=%20b"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

#: How many steps are taken at once, in the tests of races.
CROWDS = (2, 16, 50)

#: More grants than any store should end in one step.
MANY = 600

#: Names that a careless query or collation confuses with one another, or with something else.
HOSTILE = (
    "name",
    "Name",
    "NAME",
    "name ",
    " name",
    "nam",
    "name%",
    "n_me",
    "n%",
    "%",
    "_",
    "'",
    "' OR '1'='1",
    '"; DROP TABLE djoauth2_grant; --',
    "\\",
    "back\\'slash",
    "a/b",
    "{0}",
    "%s",
    ":name",
    "?",
    "*",
    "[n]ame",
    "0",
    "0123",
    "123",
    "1e3",
    "1000",
    "null",
    "None",
    "na\u00efve",
    "nai\u0308ve",
    "naive",
    "\u0430dmin",
    "admin",
    "\U0001f511",
    "\U0001f510",
    "\u202eeman",
    "tab\tname",
    "line\nname",
    "x" * 255,
    "x" * 254 + "y",
    "\U0001f511" * 63 + "xyz",
)

#: Bytes that were not UTF-8 when they were sent. They name nothing, and no store may fail on them.
NOT_UTF_8 = "\udcff\udcfe"


def random_digest() -> bytes:
    """The digest of a new code or token."""
    return secrets.token_bytes(32)


def new_grant(**changes: Any) -> Grant:
    """A grant whose code was just issued."""
    grant = Grant(
        id=random_string(22),
        client_id="client",
        owner=ResourceOwner("user", "First", "Last", "user@example.com", "subject-1", True),
        scopes=("read", "write"),
        created=NOW,
        last_used=NOW,
        expires=NOW + CODE_LIFETIME,
        code_digest=random_digest(),
        code_expires=NOW + CODE_LIFETIME,
        redirect_uri=REDIRECT_URI,
        code_challenge=CHALLENGE,
        nonce="n-0S6_WzA2Mj",
        auth_time=NOW - 60,
        sid="Vt1xYDAqSIWyIcWYKGoZbiwnTmKZUyUgUhyHXs5PmvM",
    )
    return attrs.evolve(grant, **changes)


def proof_of(grant: Grant, **changes: Any) -> CodeProof:
    """What the grant's own client presents with the code."""
    verifier = None if grant.code_challenge is None else VERIFIER
    return attrs.evolve(CodeProof(grant.client_id, grant.redirect_uri, verifier), **changes)


def new_issuance(now: int = NOW, **changes: Any) -> Issuance:
    """A pair of tokens to be issued."""
    issuance = Issuance(
        now=now,
        access_digest=random_digest(),
        access_expires=now + ACCESS_LIFETIME,
        refresh_digest=random_digest(),
        refresh_expires=now + REFRESH_LIFETIME,
    )
    return attrs.evolve(issuance, **changes)


def family_of(grant: Grant) -> bytes:
    """The digest of the family of a grant's refresh tokens."""
    return hashlib.sha256(grant.id.encode("utf-8", "surrogateescape")).digest()


def retriable_issuance(now: int = NOW) -> Issuance:
    """A pair of tokens to be issued, with an answer that may be retried within ten seconds."""
    return new_issuance(now, retry_seconds=10, sealed_answer=secrets.token_bytes(100))


def pair_of(grant: Grant, issuance: Issuance, **changes: Any) -> TokenPair:
    """The pair that a store keeps when it issues ``issuance``."""
    pair = TokenPair(
        access_digest=issuance.access_digest,
        access_expires=issuance.access_expires,
        refresh_digest=issuance.refresh_digest,
        refresh_expires=issuance.refresh_expires,
        grant_id=grant.id,
        scopes=grant.scopes,
        issued=issuance.now,
        sealed_answer=issuance.sealed_answer,
    )
    return attrs.evolve(pair, **changes)


def new_client(**changes: Any) -> Client:
    """A registered client."""
    client = Client(
        client_id=random_string(30),
        name="An application",
        secret_digest=random_digest(),
        description="What it does",
        image_url="https://app.example/logo.png",
        redirect_uris=(REDIRECT_URI, "https://app.example/other"),
        scopes=("write", "read"),
        homepage_url="https://app.example/",
        privacy_url="https://app.example/privacy",
        developer="Example Corporation",
        id_token_alg="ES256",
        post_logout_redirect_uris=("https://app.example/out?a=%20b", "https://app.example/"),
        backchannel_logout_uri="https://app.example/logout",
    )
    return attrs.evolve(client, **changes)


def new_user(username: str, **changes: Any) -> User:
    """A registered user."""
    user = User(username, "$argon2id$...", "user@example.com", "First", "Last")
    return attrs.evolve(user, **changes)


def new_session(username: str = "user", expires: int = NOW + 100) -> Session:
    """A session that expires in 100 seconds."""
    owner = ResourceOwner(username, "First", "Last", "user@e.com")
    digest = random_digest()
    return Session(digest, owner, expires, NOW - 50, "2001:db8::1", second_factor=True, sid="a-sid")


def new_second_factor(subject: str, last_step: int = 0, codes: int = 10) -> SecondFactor:
    """A second factor with recovery codes."""
    digests = frozenset(random_digest() for _ in range(codes))
    return SecondFactor(subject, bytes(range(97)), NOW, last_step, digests)


def new_signing_key(kid: str, state: str, **changes: Any) -> SigningKey:
    """A key that signs with RS256, made now."""
    public = {"kty": "RSA", "n": "n" * 342, "e": "AQAB", "kid": kid, "use": "sig", "alg": "RS256"}
    sealed = secrets.token_bytes(2000)
    return attrs.evolve(SigningKey(kid, "RS256", state, public, sealed, NOW), **changes)


def new_event(**changes: Any) -> Event:
    """An event of the audit trail."""
    event = Event(
        id=random_string(30),
        time=1000 * NOW,
        actor="somebody",
        action="client add",
        subject="client",
        address="2001:db8::1",
        details={"name": "An application"},
    )
    return attrs.evolve(event, **changes)
