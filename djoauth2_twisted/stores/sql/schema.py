"""The tables. Every name starts with ``djoauth2_``: an application's own may be in the same database.

Times are integer seconds since the epoch. Keys are compared byte by byte on every engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ...protocol.precis import folded

#: The newest migration. This release works with no other.
HEAD = "0013"
VERSION_TABLE = "djoauth2_alembic_version"

#: SQLAlchemy's names of the dialects of MySQL.
_MYSQL = ("mysql", "mariadb")

#: How MySQL and MariaDB create our tables: transactional, and for all of Unicode.
MYSQL_TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def is_storable(text: str) -> bool:
    """Whether every engine can keep a text: valid Unicode without a NUL, which PostgreSQL refuses."""
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


class _UTF8(sa.TypeDecorator[str]):
    """A text of at most 255 bytes, kept as bytes.

    MySQL's collations find ``ABC`` for ``abc``; even the binary ones find ``abc`` for ``abc ``.
    """

    impl = sa.VARBINARY(255)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else value.encode("utf-8")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else bytes(value).decode("utf-8")


class Identifier(sa.TypeDecorator[str]):
    """A name of at most 255 bytes that is compared, and sorted, byte by byte."""

    impl = sa.String(255).with_variant(sa.String(255, "C"), "postgresql").with_variant(_UTF8(), *_MYSQL)
    cache_ok = True

    def coerce_compared_value(self, op: Any, value: Any) -> Sought:
        return Sought()

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is not None and not is_storable(value):
            raise ValueError("a name with a NUL, or that is no UTF-8, cannot be stored")
        return value


class Sought(Identifier):
    """A name that is looked for. A name that cannot be stored is not an error: no row has it."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value if value is None or is_storable(value) else _NOBODY


#: A name that no row has: it is too long.
_NOBODY = "\N{REPLACEMENT CHARACTER}" * 256


def digest_type() -> sa.types.TypeEngine[bytes]:
    """A SHA-256: 32 bytes."""
    return sa.LargeBinary(32).with_variant(sa.VARBINARY(32), *_MYSQL)


def folded_digest(username: str) -> bytes:
    """The key by which a user is found in any spelling: a digest, as a folded name has no limit."""
    return hashlib.sha256(folded(username).encode("utf-8", "surrogatepass")).digest()


def image_type() -> sa.types.TypeEngine[bytes]:
    """A picture, of less than 64 KiB."""
    return sa.LargeBinary().with_variant(sa.BLOB(), *_MYSQL)


def sealed_type() -> sa.types.TypeEngine[bytes]:
    """A short secret that is sealed under the key file, of at most 255 bytes."""
    return sa.LargeBinary(255).with_variant(sa.VARBINARY(255), *_MYSQL)


metadata = sa.MetaData()

client = sa.Table(
    "djoauth2_client",
    metadata,
    sa.Column("client_id", Identifier, primary_key=True),
    sa.Column("name", Identifier, nullable=False, index=True),
    sa.Column("secret_digest", digest_type(), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("redirect_uris", sa.JSON, nullable=False),
    sa.Column("scopes", sa.JSON(none_as_null=True)),
    sa.Column("resource_server", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    # The secret before the last rotation, which stays valid for a while.
    sa.Column("previous_secret_digest", digest_type()),
    sa.Column("previous_secret_expires", sa.BigInteger),
    sa.Column("image_digest", digest_type()),  # of the picture in the next table
    # NULL in rows that are older than these columns.
    sa.Column("homepage_url", sa.Text),
    sa.Column("privacy_url", sa.Text),
    sa.Column("developer", sa.Text),
    sa.Column("last_used", sa.BigInteger),  # when it last got tokens
    # NULL in a client that is older than these columns, and has the defaults.
    sa.Column("id_token_alg", sa.String(16)),
    sa.Column("post_logout_redirect_uris", sa.JSON(none_as_null=True)),
    sa.Column("backchannel_logout_uri", sa.Text),
)

image = sa.Table(
    "djoauth2_image",
    metadata,
    sa.Column("client_id", Identifier, primary_key=True),
    sa.Column("media_type", sa.String(32), nullable=False),
    sa.Column("content", image_type(), nullable=False),
)

scope = sa.Table(
    "djoauth2_scope",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
)

user = sa.Table(
    "djoauth2_user",
    metadata,
    sa.Column("username", Identifier, primary_key=True),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("email", sa.String(255), nullable=False),
    sa.Column("first_name", sa.String(255), nullable=False),
    sa.Column("last_name", sa.String(255), nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("subject", Identifier),  # the name where it is NULL
    sa.Column("folded", digest_type()),  # of the folded name; see `folded_digest`
    # 0 in every row but those from before names were folded: of these, rows of the same folded name
    # count from 0. So the index refuses a second new name.
    sa.Column("namesake", sa.Integer),
    # NULL in a user who is older than these columns.
    sa.Column("email_verified", sa.Boolean),
    sa.Column("updated_at", sa.BigInteger),
    sa.Index("ix_djoauth2_user_folded", "folded", "namesake", unique=True),
    sa.Index("ix_djoauth2_user_namesake", "namesake"),
    # The administrators are few among many users. They are looked for, and locked, together.
    sa.Index("ix_djoauth2_user_admin", "admin", "username"),
)

session = sa.Table(
    "djoauth2_session",
    metadata,
    sa.Column("digest", digest_type(), primary_key=True),
    sa.Column("username", Identifier, nullable=False, index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
    # NULL in a session of an older version.
    sa.Column("auth_time", sa.BigInteger),
    sa.Column("address", Identifier),
    sa.Column("second_factor", sa.Boolean),
    sa.Column("sid", Identifier),
)

# The second factors of users: what proves a code, sealed under the key file.
second_factor = sa.Table(
    "djoauth2_second_factor",
    metadata,
    sa.Column("subject", Identifier, primary_key=True),
    sa.Column("sealed", sealed_type(), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),  # of the newest code that was accepted
)

# The recovery codes that are not used yet.
recovery_code = sa.Table(
    "djoauth2_recovery_code",
    metadata,
    sa.Column("subject", Identifier, primary_key=True),
    sa.Column("digest", digest_type(), primary_key=True),
)

grant = sa.Table(
    "djoauth2_grant",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("client_id", Identifier, nullable=False),
    sa.Column("username", Identifier, nullable=False),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False, index=True),
    sa.Column("last_used", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
    sa.Column("code_digest", digest_type(), nullable=False, unique=True),
    sa.Column("code_expires", sa.BigInteger, nullable=False),
    sa.Column("redirect_uri", sa.Text),
    sa.Column("code_challenge", sa.String(43)),
    sa.Column("code_used", sa.Boolean, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False),
    # NULL in a grant from before there were families, until its next refresh.
    sa.Column("family_digest", digest_type()),
    sa.Column("refresh_ended", sa.Boolean),
    # NULL in a grant of an older version, which has a redirect URI only where it was sent.
    sa.Column("redirect_uri_sent", sa.Boolean),
    # Of OpenID Connect, and NULL where the client did not ask for it.
    sa.Column("nonce", sa.Text),
    sa.Column("auth_time", sa.BigInteger),
    sa.Column("sid", sa.String(43)),
    # A client's grants, oldest first.
    sa.Index("ix_djoauth2_grant_client", "client_id", "revoked", "created", "id"),
    # A user's grants: all, those with a client, and of these the least recently used.
    sa.Index("ix_djoauth2_grant_owner", "username", "revoked", "client_id", "last_used"),
    sa.Index("ix_djoauth2_grant_family", "family_digest", unique=True),
)

# The current pair of each grant; and pairs that were rotated before there were families, by which their
# reuse is noticed.
token = sa.Table(
    "djoauth2_token",
    metadata,
    sa.Column("access_digest", digest_type(), primary_key=True),
    sa.Column("access_expires", sa.BigInteger, nullable=False),
    sa.Column("refresh_digest", digest_type(), unique=True),
    sa.Column("refresh_expires", sa.BigInteger),
    sa.Column("grant_id", Identifier, nullable=False, index=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("issued", sa.BigInteger, nullable=False),
    sa.Column("access_revoked", sa.Boolean, nullable=False),
    sa.Column("rotated", sa.Boolean, nullable=False),
    sa.Column("predecessor", digest_type()),
)

# Answers that are kept for a retry, by the digest of the refresh token that was presented.
retry = sa.Table(
    "djoauth2_retry",
    metadata,
    sa.Column("digest", digest_type(), primary_key=True),
    sa.Column("access_digest", digest_type(), nullable=False),  # of the issued pair
    sa.Column("sealed_answer", sa.LargeBinary, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

# The keys that sign ID tokens, from before their first signature until after their last.
signing_key = sa.Table(
    "djoauth2_signing_key",
    metadata,
    sa.Column("kid", Identifier, primary_key=True),
    sa.Column("algorithm", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Its algorithm and state, of which there is one; NULL where there may be several.
    sa.Column("slot", Identifier, unique=True),
    sa.Column("public", sa.JSON, nullable=False),
    sa.Column("sealed_private", sa.LargeBinary),  # NULL where it is erased
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("signs_from", sa.BigInteger),
    sa.Column("retired", sa.BigInteger),
)

# The subjects of users from elsewhere, and of users who were deleted.
subject = sa.Table(
    "djoauth2_subject",
    metadata,
    sa.Column("subject", Identifier, primary_key=True),
    sa.Column("username", Identifier, unique=True),  # NULL where the user was deleted
)

lease = sa.Table(
    "djoauth2_lease",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("holder", Identifier, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

# Leaky buckets of failures and attempts.
failure = sa.Table(
    "djoauth2_failure",
    metadata,
    sa.Column("place", digest_type(), primary_key=True),  # the throttle key
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, index=True),
)

# The audit trail: who did what, when and from where.
event = sa.Table(
    "djoauth2_event",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False, index=True),  # in milliseconds
    sa.Column("actor", Identifier, nullable=False),
    sa.Column("action", Identifier, nullable=False),
    sa.Column("subject", Identifier, nullable=False),
    sa.Column("address", Identifier, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)

# How often each kind of event happened in each hour, for the plots.
statistics = sa.Table(
    "djoauth2_tally",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", Identifier, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

# A counter for each partition of the grants, which is raised whenever an access token in it ends.
invalidation_counter = sa.Table(
    "djoauth2_change",
    metadata,
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),  # the partition
    sa.Column("counter", sa.BigInteger, nullable=False),
)

# Logouts for which clients are to get logout tokens, until they have got them.
logout_notice = sa.Table(
    "djoauth2_logout",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("username", Identifier, nullable=False),
    sa.Column("subject", Identifier, nullable=False),
    sa.Column("sid", Identifier),
    sa.Column("client_id", Identifier, nullable=False),  # empty: not yet divided among the clients
    sa.Column("due", sa.BigInteger, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
)

# Where the tokens are, if a server has recorded it: at most one row.
token_place = sa.Table(
    "djoauth2_token_place",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Text, nullable=False),  # a URL without its password; empty: this database
)


def create(connection: sa.Connection, table_options: Mapping[str, Any]) -> None:
    """Create today's tables.

    :param table_options: the engine's. They are not in the tables above, since SQLAlchemy loads the
        dialect of each option.
    """
    for table in metadata.tables.values():
        table.dialect_kwargs.update(table_options)
    metadata.create_all(connection, checkfirst=False)
